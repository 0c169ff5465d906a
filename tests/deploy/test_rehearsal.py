"""A rollout as compose and Kubernetes do it: replicas replaced one by one under load, and nothing lost.

`make rehearsal` is the long form: three gateways, a NATS cluster of three, a replica of the store, every part replaced.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.rehearsal import Deployment
from tests.support.rehearsal_load import Load, nothing_is_lost, trained

pytestmark = [pytest.mark.timeout(300)]


async def test_gateways_and_ledgers_are_replaced_one_by_one_and_nothing_is_lost(tmp_path: Path) -> None:
    deployment = Deployment(tmp_path, gateways=2, ledgers=2)
    try:
        deployment.start()
        await trained(deployment)
        load = Load(deployment, editors=2, viewers=3)
        load.begin()
        await load.goes_on(what="the start")
        for name in (*deployment.gateways, *deployment.ledgers):
            await deployment.restart(name)
            await load.goes_on(what=f"{name} was replaced")
        await load.end()
        found = await nothing_is_lost(deployment, load)
        assert found["edits"] >= len(load.acknowledged)
        assert sum(viewer.reconnects for viewer in load.viewers) > 0, "no viewer noticed anything: nothing was replaced"
    except BaseException:
        print(deployment.logs())
        raise
    finally:
        deployment.stop()
