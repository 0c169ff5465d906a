"""How a service process runs: until SIGTERM or SIGINT, then it stops in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

log = logging.getLogger(__name__)


def _cancel_when_told_to_stop() -> None:
    """Cancel the running task at the first SIGTERM or SIGINT.

    Later ones change nothing: a terminal and whoever started the process may both send one.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    told = False

    def stop() -> None:
        nonlocal told
        if not told:
            told = True
            task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)


def run(open_service: Callable[[], AbstractAsyncContextManager[None]]) -> None:
    """Run a service: enter its context, wait for a signal, leave its context. A signal ends the entering, too."""

    async def main() -> None:
        _cancel_when_told_to_stop()
        with contextlib.suppress(asyncio.CancelledError):
            async with open_service():
                await asyncio.Event().wait()

    asyncio.run(main())


def stop_if_cancelled() -> None:
    """Raise CancelledError when the running task was told to stop and has not.

    A cancellation can get lost in what a loop calls: nats-py raises ConnectionClosedError instead when its connection
    is closed at that moment, and before Python 3.12 asyncio.wait_for drops one that comes together with its result.
    So a loop that goes on for ever, over errors, asks at each turn.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


@contextlib.asynccontextmanager
async def background(*tasks: asyncio.Task[None], patience_secs: float = 2.0) -> AsyncIterator[None]:
    """Cancel `tasks` on the way out and wait for them; what has not ended after `patience_secs` is cancelled again.

    They are waited for also when the waiting task is cancelled itself meanwhile: none is left behind.
    """
    try:
        yield
    finally:
        await _end(set(tasks), patience_secs)


async def _end(tasks: set[asyncio.Task[None]], patience_secs: float) -> None:
    pending, told = tasks, False
    while pending:
        for task in pending:
            task.cancel()
        try:
            _, pending = await asyncio.wait(pending, timeout=patience_secs)
        except asyncio.CancelledError:
            told = True
    # What they raised is theirs to log, and asyncio would complain of it otherwise.
    await asyncio.gather(*tasks, return_exceptions=True)
    if told:
        raise asyncio.CancelledError
