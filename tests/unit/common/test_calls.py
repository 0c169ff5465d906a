"""Work for a caller that has left, or has no time any more, stops."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator

import pytest
from weightslab_common import calls, subjects
from weightslab_common.bus import Bus
from weightslab_common.errors import DeadlineExceeded, Unavailable
from weightslab_proto.weightslab.bus.v1 import LedgerHealthRequest, LedgerHealthResponse

PATIENCE_SECS = 60


@pytest.fixture
async def peers(nats_url: str) -> AsyncIterator[tuple[Bus, Bus]]:
    """One that asks and one that answers."""
    asks, answers = [await Bus.connect(nats_url, name=name) for name in ("asks", "answers")]
    yield asks, answers
    await asks.close()
    await answers.close()


class Worker:
    """Works until it is stopped, and says how far it is."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.stopped = asyncio.Event()
        self.thread_stopped = threading.Event()

    async def waits(self, request: LedgerHealthRequest) -> LedgerHealthResponse:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.stopped.set()
        return LedgerHealthResponse()

    async def computes(self, request: LedgerHealthRequest) -> LedgerHealthResponse:
        loop = asyncio.get_running_loop()
        await asyncio.to_thread(self._compute, loop)
        return LedgerHealthResponse()

    def _compute(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_soon_threadsafe(self.begun.set)
        try:
            while True:
                calls.stop_if_unwanted()
                time.sleep(0.001)
        finally:
            self.thread_stopped.set()


async def _ask(bus: Bus, subject: str, *, timeout_secs: float) -> LedgerHealthResponse:
    return await bus.request(
        subject, LedgerHealthRequest(), LedgerHealthResponse, timeout_secs=timeout_secs, part="ledger"
    )


async def _begun(bus: Bus, subject: str, begun: asyncio.Event) -> asyncio.Task[LedgerHealthResponse]:
    """Ask, until it is worked on: a server takes a moment to know of a new subscription."""
    async with asyncio.timeout(PATIENCE_SECS):
        while True:
            asking = asyncio.create_task(_ask(bus, subject, timeout_secs=3600))
            working = asyncio.create_task(begun.wait())
            await asyncio.wait([asking, working], return_when=asyncio.FIRST_COMPLETED)
            if begun.is_set():
                return asking
            working.cancel()
            with pytest.raises(Unavailable):
                await asking


async def _leave(peers: tuple[Bus, Bus], subject: str, worker: Worker) -> None:
    """Ask, and leave once it is worked on."""
    asking = await _begun(peers[0], subject, worker.begun)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_a_handler_is_cancelled_when_its_caller_leaves(peers: tuple[Bus, Bus]) -> None:
    worker = Worker()
    await peers[1].serve(subjects.ledger("left", "health"), LedgerHealthRequest, worker.waits, may_stop=True)
    await _leave(peers, subjects.ledger("left", "health"), worker)
    await asyncio.wait_for(worker.stopped.wait(), PATIENCE_SECS)


async def test_a_thread_stops_at_its_next_slice_when_the_caller_leaves(peers: tuple[Bus, Bus]) -> None:
    worker = Worker()
    await peers[1].serve(subjects.ledger("sliced", "health"), LedgerHealthRequest, worker.computes, may_stop=True)
    await _leave(peers, subjects.ledger("sliced", "health"), worker)
    assert await asyncio.to_thread(worker.thread_stopped.wait, PATIENCE_SECS)


async def test_a_handler_is_cancelled_when_the_time_of_its_caller_is_over(peers: tuple[Bus, Bus]) -> None:
    asks, answers = peers
    worker, subject = Worker(), subjects.ledger("late", "health")
    await answers.serve(subject, LedgerHealthRequest, worker.waits, may_stop=True)
    async with asyncio.timeout(PATIENCE_SECS):
        while not worker.begun.is_set():
            with pytest.raises((DeadlineExceeded, Unavailable)):
                await _ask(asks, subject, timeout_secs=0.5)
        await worker.stopped.wait()


async def test_what_must_not_stop_half_way_is_finished_and_not_begun_for_nobody(peers: tuple[Bus, Bus]) -> None:
    asks, answers = peers
    begun = asyncio.Event()
    finished: list[LedgerHealthRequest] = []

    async def edit(request: LedgerHealthRequest) -> LedgerHealthResponse:
        begun.set()
        if not finished:
            # Until the news that both have left is here: that of the second comes before that of the first.
            with pytest.raises(DeadlineExceeded):
                while True:
                    calls.stop_if_unwanted()
                    await asyncio.sleep(0.001)
        finished.append(request)
        return LedgerHealthResponse()

    async def quick(request: LedgerHealthRequest) -> LedgerHealthResponse:
        return LedgerHealthResponse()

    subject = subjects.ledger("edits", "edit_samples")
    await answers.serve(subjects.ledger("edits", "health"), LedgerHealthRequest, quick)
    await answers.serve(subject, LedgerHealthRequest, edit, max_concurrent=1)
    first = await _begun(asks, subject, begun)
    second = asyncio.create_task(_ask(asks, subject, timeout_secs=3600))
    # What is asked later is answered, so the second waits for its turn.
    await _ask(asks, subjects.ledger("edits", "health"), timeout_secs=PATIENCE_SECS)
    for asking in (second, first):
        asking.cancel()
    third = asyncio.create_task(_ask(asks, subject, timeout_secs=PATIENCE_SECS))
    await asyncio.gather(first, second, return_exceptions=True)
    await third
    assert len(finished) == 2


async def test_work_that_nobody_called_for_goes_on() -> None:
    calls.stop_if_unwanted()
    call = calls.Calls().begin({})

    async def work() -> str:
        calls.stop_if_unwanted()
        return "done"

    assert await calls.answer(call, work, may_stop=True) == "done"
    assert call.wanted
