"""Calls of others that are being answered, and how work for them ends when nobody waits for the answer any more.

A request says by headers how long its caller waits and by which name it can be told that the caller has left.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

from weightslab_common.errors import DeadlineExceeded

CALL_HEADER = "Wl-Call"
TIMEOUT_HEADER = "Wl-Timeout-Ms"

_UNWANTED = "nobody waits for this answer any more"

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Call:
    """`ends_at`: when its caller stops waiting, by `time.monotonic`. `over`: nobody waits, or it was answered."""

    name: str = ""
    ends_at: float = float("inf")
    over: bool = False
    # What is cancelled when the caller has left.
    working: asyncio.Future[Any] | None = None

    @property
    def wanted(self) -> bool:
        return not self.over and time.monotonic() < self.ends_at


_current: ContextVar[Call | None] = ContextVar("weightslab_call", default=None)


def stop_if_unwanted() -> None:
    """Raise DeadlineExceeded when nobody waits for what this task or thread works on. Cheap: call it at each slice."""
    call = _current.get()
    if call is not None and not call.wanted:
        raise DeadlineExceeded(_UNWANTED)


class Calls:
    """The calls that are being answered here, by name."""

    def __init__(self) -> None:
        self._known: dict[str, Call] = {}

    def begin(self, headers: Mapping[str, str]) -> Call:
        """A request with these headers has come."""
        timeout = headers.get(TIMEOUT_HEADER, "")
        call = Call(headers.get(CALL_HEADER, ""))
        if timeout.isdecimal():
            call.ends_at = time.monotonic() + int(timeout) / 1000
        if call.name:
            self._known[call.name] = call
        return call

    def end(self, call: Call) -> None:
        """It was answered. What is still done for it in threads stops at its next slice."""
        call.over = True
        self._known.pop(call.name, None)

    def left(self, name: str) -> None:
        """The caller of `name` has left; most likely it is somebody else's call."""
        call = self._known.get(name)
        if call is None:
            return
        call.over = True
        if call.working is not None:
            call.working.cancel()


async def answer(call: Call, work: Callable[[], Awaitable[T]], *, may_stop: bool) -> T:
    """Do `work`, unless nobody waits. With `may_stop` it is cancelled when nobody does any more.

    Raises DeadlineExceeded when it was not done, and what `work` raises.
    """
    token = _current.set(call)
    try:
        stop_if_unwanted()
        return await (_until(call, work) if may_stop else work())
    finally:
        _current.reset(token)


async def _until(call: Call, work: Callable[[], Awaitable[T]]) -> T:
    call.working = working = asyncio.ensure_future(work())
    try:
        async with asyncio.timeout(None if call.ends_at == float("inf") else call.ends_at - time.monotonic()):
            return await working
    except TimeoutError:
        if call.wanted:
            raise
    except asyncio.CancelledError:
        if not call.over:
            raise
    raise DeadlineExceeded(_UNWANTED)
