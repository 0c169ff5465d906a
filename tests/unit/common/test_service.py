"""How what runs in the background is ended."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from weightslab_common.service import background, bounded, stop_if_cancelled

from tests.support.processes import Process, wait_until

ENDLESS = """
import asyncio, contextlib, time
from weightslab_common import service

async def never_ends():
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

@contextlib.asynccontextmanager
async def opened():
    print("open", flush=True)
    try:
        yield
    finally:
        await {hangs}

service.run(opened, stop_secs=0.5)
"""


async def test_a_loop_that_lost_its_cancellation_ends_at_the_next_turn() -> None:
    turns = 0

    async def for_ever() -> None:
        nonlocal turns
        while True:
            stop_if_cancelled()
            turns += 1
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                # As a library does that takes the cancellation for its own.
                continue

    task = asyncio.create_task(for_ever())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task], timeout=30)
    assert task.cancelled()
    assert turns == 1


async def test_a_cancellation_that_was_taken_back_ends_nothing() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await asyncio.sleep(60)
    stop_if_cancelled()


async def test_what_is_slow_to_end_is_waited_for_by_whoever_is_cancelled_meanwhile() -> None:
    """A service that is told to stop twice leaves nothing running."""
    may_end = asyncio.Event()

    async def slow_to_end() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            while not may_end.is_set():
                try:
                    await may_end.wait()
                except asyncio.CancelledError:
                    continue

    task = asyncio.create_task(slow_to_end())
    await asyncio.sleep(0)
    leaving = asyncio.Event()

    async def leave() -> None:
        async with background(task, patience_secs=0.01):
            leaving.set()

    waiting = asyncio.create_task(leave())
    await leaving.wait()
    for _ in range(3):
        waiting.cancel()
        await asyncio.sleep(0.02)
    assert not waiting.done()
    may_end.set()
    await asyncio.wait([waiting], timeout=30)
    assert waiting.cancelled()
    assert task.done()


@pytest.mark.parametrize("hangs", ["asyncio.create_task(never_ends())", "asyncio.to_thread(time.sleep, 3600)"])
def test_a_service_that_cannot_end_is_ended_and_says_what_it_hung_on(tmp_path: Path, hangs: str) -> None:
    process = Process([sys.executable, "-c", ENDLESS.format(hangs=hangs)], log=tmp_path / "log")
    process.start()
    wait_until(lambda: "open" in process.output(), what="the service is open")
    assert process.stop() == 1
    assert "not stopped within 0.5 s" in process.output()
    assert ("never_ends" if "never" in hangs else "main") in process.output()


async def test_what_does_not_end_when_it_is_cancelled_is_not_waited_for() -> None:
    may_end = asyncio.Event()

    async def slow_to_end() -> None:
        while not may_end.is_set():
            try:
                await may_end.wait()
            except asyncio.CancelledError:
                continue

    waiting = asyncio.create_task(bounded(slow_to_end(), secs=0.01))
    assert (await asyncio.wait([waiting], timeout=30))[0]
    with pytest.raises(TimeoutError, match=r"not done within 0.01 s"):
        waiting.result()
    may_end.set()


async def test_what_bounded_work_raises_is_raised() -> None:
    async def fails() -> None:
        raise ConnectionError("broken")

    with pytest.raises(ConnectionError, match="broken"):
        await bounded(fails(), secs=30)
