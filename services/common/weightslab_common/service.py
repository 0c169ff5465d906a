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


@contextlib.asynccontextmanager
async def background(*tasks: asyncio.Task[None], patience_secs: float = 2.0) -> AsyncIterator[None]:
    """Cancel `tasks` on the way out and wait for them; what has not ended after `patience_secs` is cancelled again."""
    try:
        yield
    finally:
        pending = set(tasks)
        while pending:
            for task in pending:
                task.cancel()
            # Before Python 3.12 asyncio.wait_for loses a cancellation that comes together with its result.
            _, pending = await asyncio.wait(pending, timeout=patience_secs)
        # What they raised is theirs to log, and asyncio would complain of it otherwise.
        await asyncio.gather(*tasks, return_exceptions=True)
