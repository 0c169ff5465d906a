"""The end of a gateway: streams are told at once, a call that was begun is answered, nothing new is begun."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import httpx
import pytest
from grpclib import GRPCError
from grpclib.const import Status
from weightslab_common.bus import Bus
from weightslab_gateway import service
from weightslab_proto.weightslab.v1 import (
    EditSamplesRequest,
    EditSamplesResponse,
    ListExperimentsRequest,
    WatchRequest,
)

from tests.support.grpcweb import BINARY
from tests.unit.gateway.conftest import running_gateway
from tests.unit.gateway.peers import LedgerPeer
from tests.unit.gateway.test_watch import watching


class SlowLedger(LedgerPeer):
    """Answers an edit when it is told to."""

    def __init__(self, bus: Bus, experiment: str) -> None:
        super().__init__(bus, experiment)
        self.asked = asyncio.Event()
        self.may_answer = asyncio.Event()

    async def _edit(self, request: EditSamplesRequest) -> EditSamplesResponse:
        self.asked.set()
        await self.may_answer.wait()
        return await super()._edit(request)


@pytest.fixture
async def slow(bus: Bus, experiment: str) -> SlowLedger:
    ledger = SlowLedger(bus, experiment)
    await ledger.start()
    return ledger


async def test_an_edit_that_was_begun_is_answered_and_viewers_are_told_before(
    nats_url: str, tmp_path: Path, slow: SlowLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "GRACE_SECS", 60.0)
    async with contextlib.AsyncExitStack() as stack:
        running = contextlib.AsyncExitStack()
        gateway = await running.enter_async_context(running_gateway(nats_url, tmp_path))
        api = await stack.enter_async_context(gateway.api())
        viewer = await stack.enter_async_context(watching(gateway, WatchRequest(experiment=slow.experiment), BINARY))
        await viewer.read()
        edit = EditSamplesRequest(experiment=slow.experiment, edit_id="e")
        editing = asyncio.create_task(api.samples.edit_samples(edit))
        await slow.asked.wait()
        stopping = asyncio.create_task(running.aclose())
        with pytest.raises(GRPCError, match="stopping"):
            await viewer.until(lambda: False)
        # It still serves who began before, says that it is not ready, and takes nothing new.
        async with httpx.AsyncClient(base_url=gateway.admin_url, timeout=20) as http:
            ready = await http.get("/readyz")
        assert (ready.status_code, ready.json()["stopping"]) == (503, True)
        with pytest.raises(GRPCError) as refused:
            await api.experiments.list_experiments(ListExperimentsRequest())
        assert refused.value.status is Status.UNAVAILABLE
        assert not editing.done()
        slow.may_answer.set()
        assert (await editing).edit.edit_id == "e"
        await asyncio.wait_for(stopping, timeout=60)


async def test_a_call_that_takes_longer_than_the_grace_is_told(nats_url: str, tmp_path: Path, slow: SlowLedger) -> None:
    async with running_gateway(nats_url, tmp_path) as gateway:
        api = gateway.api()
        editing = asyncio.create_task(
            api.samples.edit_samples(EditSamplesRequest(experiment=slow.experiment, edit_id="e"))
        )
        await slow.asked.wait()
    with pytest.raises(GRPCError) as told:
        await asyncio.wait_for(editing, timeout=30)
    assert told.value.status is Status.UNAVAILABLE
    await api.__aexit__()
    slow.may_answer.set()
