"""Requests to a peer that may end before it answers: the bus does not say so, and the caller would wait in vain."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from weightslab_common.bus import Bus
from weightslab_common.errors import Unavailable, WeightsLabError
from weightslab_common.ledger_health import ledger_health
from weightslab_common.service import end

from weightslab_gateway.directory import Directory

ResultT = TypeVar("ResultT")
Gone = Callable[[], Awaitable[bool]]

# Most requests are answered sooner, and nobody looks.
LOOK_SECS = 0.5
LOOK_TIMEOUT_SECS = 1.5
# Who ends in order answers what it has begun after it takes nothing new any more.
LOOKS_BEFORE_GONE = 2


class PeerGone(Unavailable):
    """Whoever was asked is not there any more; whether it did what it was asked is not known."""


async def attended(work: Coroutine[Any, Any, ResultT], gone: Gone, *, part: str) -> ResultT:
    """The result of `work`, which waits for a peer. Raises PeerGone once `gone` says so at two looks in a row."""
    asking = asyncio.create_task(work)
    misses = 0
    try:
        while not (await asyncio.wait([asking], timeout=LOOK_SECS))[0]:
            misses = misses + 1 if await gone() else 0
            if misses == LOOKS_BEFORE_GONE and not asking.done():
                raise PeerGone(f"the {part} ended before it could answer: ask again")
        return asking.result()
    finally:
        if not asking.done():
            await end([asking])


def ledger_gone(bus: Bus, experiment: str) -> Gone:
    """Says whether the ledger that owned `experiment` at the first look is gone, or another owns it now."""
    owner = ""

    async def gone() -> bool:
        nonlocal owner
        try:
            health = await ledger_health(bus, experiment, timeout_secs=LOOK_TIMEOUT_SECS)
        except Unavailable:
            # Nobody listens. Without a bus the request itself has failed.
            return bus.connected
        except WeightsLabError:
            # It may be busy.
            return False
        owner = owner or health.ledger_id
        return health.ledger_id != owner

    return gone


def trainer_gone(directory: Directory, experiment: str) -> Gone:
    """Says whether the trainer that spoke when this was called is silent now, or another run speaks."""

    def speaks() -> str:
        status = directory.status(experiment)
        return status.run_id if status is not None and directory.trainer_connected(experiment) else ""

    spoke = speaks()

    async def gone() -> bool:
        return bool(spoke) and speaks() != spoke

    return gone
