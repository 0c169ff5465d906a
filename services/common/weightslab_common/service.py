"""How a service process runs: until SIGTERM or SIGINT, then it stops in order."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import logging
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Any

log = logging.getLogger(__name__)


def _cancel_when_told_to_stop(stop_secs: float) -> None:
    """Cancel the running task at the first SIGTERM or SIGINT, and see that the process ends within `stop_secs` then.

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
            _end_within(stop_secs, loop)
            task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)


def _end_within(secs: float, loop: asyncio.AbstractEventLoop) -> None:
    """End this process in `secs`, whatever it does then, and say what it hung on.

    The one bound over all others: also of what no await of ours can bound, a thread or the end of the interpreter.
    """

    def give_up() -> None:
        left = sorted(task.get_name() + " " + task.get_coro().__qualname__ for task in asyncio.all_tasks(loop))  # type: ignore[union-attr]
        log.error("not stopped within %g s, and ended as it is; tasks left: %s", secs, ", ".join(left) or "none")
        faulthandler.dump_traceback()
        os._exit(1)

    timer = threading.Timer(secs, give_up)
    timer.daemon = True
    timer.start()


def run(open_service: Callable[[], AbstractAsyncContextManager[None]], *, stop_secs: float) -> None:
    """Run a service: enter its context, wait for a signal, leave its context. A signal ends the entering, too.

    The process ends with status 1 when it is still there `stop_secs` after the signal.
    """

    async def main() -> None:
        _cancel_when_told_to_stop(stop_secs)
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
        await end(tasks, patience_secs=patience_secs)


async def end(tasks: Iterable[asyncio.Task[Any]], *, patience_secs: float = 2.0) -> None:
    """Cancel `tasks` and wait for them, as `background` does."""
    tasks = set(tasks)
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


async def bounded(work: Coroutine[Any, Any, object], *, secs: float) -> None:
    """Do `work` for `secs` at most. Raises TimeoutError when it has not ended then, and what it raises itself.

    asyncio.wait_for cancels, too, but then waits for the end of what it cancelled, however long that takes.
    """
    task = asyncio.create_task(work)
    try:
        ended, _ = await asyncio.wait([task], timeout=secs)
    finally:
        task.cancel()
    if not ended:
        raise TimeoutError(f"not done within {secs:g} s")
    task.result()
