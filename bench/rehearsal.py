"""A rollout rehearsed at length: every part of a cluster replaced under load; how long people wait, and what is lost.

Three gateways behind Envoy, two ledgers, a NATS cluster of three with every stream on all, a store with a warm copy:
the commands, environment, ports and configurations that `deploy/` ships, on addresses of loopback. Run by
`make rehearsal`; the result is written beside this script. Nothing may be lost; how long a viewer is away is reported.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import redis.asyncio as redis
from grpclib import GRPCError
from weightslab_proto.weightslab.v1 import ListEditsRequest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.support.main_job import until
from tests.support.rehearsal import Deployment
from tests.support.rehearsal_load import Load, nothing_is_lost, trained
from tests.support.studio import EXPERIMENT

RESULT = Path(__file__).with_suffix(".json")
BACK_SECS = 3.0


async def revision_of(deployment: Deployment, name: str) -> int:
    """The edit counter in one of the two stores."""
    client = redis.Redis(host=deployment.address(name), password=deployment.secret("WL_REDIS_PASSWORD"))
    try:
        return int(await client.get("wl:{digits}:revision") or 0)
    finally:
        await client.aclose()


async def replace_all(deployment: Deployment, load: Load) -> dict[str, dict[str, float]]:
    """Replace every part one after the other; what people noticed of each."""
    noticed: dict[str, dict[str, float]] = {}
    parts = [*deployment.gateways, *deployment.ledgers, *deployment.buses, "redis", "redis-replica", "ui", "envoy"]
    for name in parts:
        for editor in load.editors:
            editor.longest_secs = 0.0
        for viewer in load.viewers:
            viewer.away_secs.clear()
        began = time.monotonic()
        await deployment.restart(name)
        await load.goes_on(what=f"{name} was replaced")
        away = [secs for viewer in load.viewers for secs in viewer.away_secs]
        noticed[name] = {
            "replaced_secs": round(time.monotonic() - began, 2),
            "viewers_cut_off": len(away),
            "viewer_away_longest_secs": round(max(away, default=0.0), 2),
            "edit_longest_secs": round(max(editor.longest_secs for editor in load.editors), 2),
        }
        print(f"{name:15} {noticed[name]}", flush=True)
    return noticed


async def fall_back_on_the_copy(deployment: Deployment, edits: int) -> None:
    """The store is lost for good: ledgers are pointed at its copy, as the page on backups says; every edit holds."""
    for name in deployment.ledgers:
        await asyncio.to_thread(deployment.end, name)
    await asyncio.to_thread(deployment.processes["redis"].kill)
    password = deployment.secret("WL_REDIS_PASSWORD")
    address = deployment.address("redis-replica")
    client = redis.Redis(host=address, password=password)
    await client.replicaof("NO", "ONE")
    await client.aclose()
    for name in deployment.ledgers:
        deployment.start_with(name, WL_REDIS_URL=f"redis://:{password}@{address}:6379")
        await asyncio.to_thread(deployment.wait, name)
    async with deployment.api(deployment.gateways[0]) as api:

        async def holds() -> bool:
            try:
                answer = await api.samples.list_edits(ListEditsRequest(experiment=EXPERIMENT, limit=1))
                return answer.revision == edits
            except GRPCError:
                return False

        await until(holds, what="the copy of the store has every edit", timeout_secs=90)


async def rehearse(folder: Path) -> dict[str, object]:
    deployment = Deployment(folder, gateways=3, ledgers=2, nats=3, store_replica=True)
    try:
        deployment.start()
        await trained(deployment)
        load = Load(deployment, editors=3, viewers=12)
        load.begin()
        await load.goes_on(what="the start")
        noticed = await replace_all(deployment, load)
        await load.end()
        found = await nothing_is_lost(deployment, load)

        async def copied() -> bool:
            return await revision_of(deployment, "redis-replica") == await revision_of(deployment, "redis")

        await until(copied, what="the copy of the store has every edit")
        await fall_back_on_the_copy(deployment, found["edits"])
    except BaseException:
        print(deployment.logs())
        raise
    finally:
        deployment.stop()
    away = [told["viewer_away_longest_secs"] for name, told in noticed.items() if name.startswith("gateway")]
    return {
        "replaced": noticed,
        "acknowledged_edits": len(load.acknowledged),
        "edits_in_the_log": found["edits"],
        "edits_lost": 0,
        "points": found["points"],
        "points_lost_or_doubled": 0,
        "edits_held_by_the_copy_of_the_store": found["edits"],
        "retries_of_edits": sum(editor.retries for editor in load.editors),
        "viewer_back_after_a_gateway_secs": {"median": float(np.median(away)), "longest": max(away)},
        "viewer_back_target_secs": BACK_SECS,
        "machine": {"cores": os.cpu_count(), "load_1min": round(os.getloadavg()[0], 1)},
        "date": time.strftime("%Y-%m-%d"),
    }


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        result = asyncio.run(rehearse(Path(folder)))
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(f"nothing was lost; {RESULT.name} has the figures")
    return 0


if __name__ == "__main__":
    sys.exit(main())
