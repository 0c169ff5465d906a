"""A peer that ends before it answers: the caller is told at once, and what changes nothing is asked of the next."""

from __future__ import annotations

import asyncio

import pytest
from grpclib import GRPCError
from grpclib.const import Status
from weightslab_common.bus import Bus
from weightslab_gateway import directory
from weightslab_proto.weightslab.bus.v1 import LedgerHealthRequest, LedgerHealthResponse
from weightslab_proto.weightslab.v1 import (
    EditSamplesRequest,
    EditSamplesResponse,
    PauseRequest,
    PauseResponse,
    QuerySamplesRequest,
    QuerySamplesResponse,
)

from tests.unit.gateway.conftest import Gateway
from tests.unit.gateway.peers import LedgerPeer, TrainerPeer


class Dying(LedgerPeer):
    """A ledger on a connection of its own that answers no query and no edit, and ends."""

    def __init__(self, bus: Bus, experiment: str) -> None:
        super().__init__(bus, experiment)
        self.asked, self.looked_at = asyncio.Event(), asyncio.Event()

    async def _query(self, request: QuerySamplesRequest) -> QuerySamplesResponse:
        self.asked.set()
        return await asyncio.Future()

    async def _edit(self, request: EditSamplesRequest) -> EditSamplesResponse:
        self.asked.set()
        return await asyncio.Future()

    async def _health(self, request: LedgerHealthRequest) -> LedgerHealthResponse:
        if self.asked.is_set():
            self.looked_at.set()
        return await super()._health(request)

    async def die(self) -> None:
        """As a killed process: its connection ends, and what it was asked with it."""
        await self._bus.client.close()
        for task in self._bus._answering:
            task.cancel()


@pytest.fixture
async def dying(nats_url: str, experiment: str) -> Dying:
    ledger = Dying(await Bus.connect(nats_url, name="dying"), experiment)
    await ledger.start()
    return ledger


async def _asked_and_looked_at(dying: Dying) -> None:
    async with asyncio.timeout(60):
        await dying.asked.wait()
        await dying.looked_at.wait()


async def test_a_request_whose_ledger_dies_ends_before_its_deadline(gateway: Gateway, dying: Dying) -> None:
    async with gateway.api() as api:
        asking = asyncio.create_task(
            api.samples.query_samples(QuerySamplesRequest(experiment=dying.experiment), timeout=600)
        )
        await dying.asked.wait()
        await dying.die()
        with pytest.raises(GRPCError) as told:
            await asking
    # At the limit of the gateway it would be DEADLINE_EXCEEDED. Nobody knows the experiment any more, either.
    assert told.value.status in (Status.UNAVAILABLE, Status.NOT_FOUND)


async def test_what_changes_nothing_is_answered_by_the_next_owner(gateway: Gateway, dying: Dying, bus: Bus) -> None:
    next_owner = LedgerPeer(bus, dying.experiment)
    async with gateway.api() as api:
        request = QuerySamplesRequest(experiment=dying.experiment, filter="abc")
        asking = asyncio.create_task(api.samples.query_samples(request, timeout=600))
        await _asked_and_looked_at(dying)
        await next_owner.start()
        await dying.die()
        assert (await asking).uids == ["abc"]


async def test_an_edit_is_not_made_a_second_time(gateway: Gateway, dying: Dying, bus: Bus) -> None:
    next_owner = LedgerPeer(bus, dying.experiment)
    async with gateway.api() as api:
        request = EditSamplesRequest(experiment=dying.experiment, edit_id="e")
        editing = asyncio.create_task(api.samples.edit_samples(request, timeout=600))
        await _asked_and_looked_at(dying)
        await next_owner.start()
        await dying.die()
        with pytest.raises(GRPCError, match="the ledger ended before it could answer") as told:
            await editing
    assert told.value.status is Status.UNAVAILABLE
    assert next_owner.edits == []


async def test_a_command_whose_trainer_falls_silent_ends_before_its_deadline(
    gateway: Gateway, bus: Bus, ledger: LedgerPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "CONNECTED_SECS", 2.0)
    asked = asyncio.Event()

    class Silent(TrainerPeer):
        async def _pause(self, request: PauseRequest) -> PauseResponse:
            asked.set()
            return await asyncio.Future()

    trainer = Silent(bus, ledger.experiment)
    await trainer.start()

    async def speak() -> None:
        while not asked.is_set():
            await trainer.say_status()
            await asyncio.sleep(0.1)

    async with gateway.api() as api:
        await trainer.say_status()
        speaking = asyncio.create_task(speak())
        pausing = asyncio.create_task(api.experiments.pause(PauseRequest(experiment=ledger.experiment), timeout=600))
        await speaking
        with pytest.raises(GRPCError, match="the trainer ended before it could answer") as told:
            await pausing
    assert told.value.status is Status.UNAVAILABLE
    for task in bus._answering:
        task.cancel()
