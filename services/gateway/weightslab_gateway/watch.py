"""One viewer's stream."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import random
import time
from collections.abc import AsyncIterator

from weightslab_common.errors import InvalidArgument, ResourceExhausted, WeightsLabError
from weightslab_proto.weightslab.v1 import WatchRequest, WatchResponse

from weightslab_gateway.encoded import Encoded
from weightslab_gateway.feed import KEPT_EDITS, Position
from weightslab_gateway.hub import Hub

log = logging.getLogger(__name__)

MAX_RATE_HZ = 10
MAX_POSITIONS = 10_000
# After so long without news a viewer gets an empty message: silence beyond it means a lost connection, to the viewer
# and to whatever closes idle connections on the way.
HEARTBEAT_SECS = 15.0
# Of the longest time that a stream may last, so that viewers who came together do not all call again together.
LEAST_SHARE = 0.75


class Pace:
    """Says when the next message may go: so many a second, and up to half a period early, for what comes unevenly."""

    def __init__(self, rate_hz: float) -> None:
        self._period_secs = 1 / rate_hz
        self._due = 0.0

    def delay_secs(self, now: float) -> float:
        """Seconds to wait at time `now`."""
        return max(0.0, self._due - self._period_secs / 2 - now)

    def sent(self, now: float) -> None:
        """Note that a message went at time `now`."""
        self._due = max(self._due, now) + self._period_secs


def check_request(request: WatchRequest) -> float:
    """The rate in messages a second that `request` asks for. Raises InvalidArgument."""
    if not 0 <= request.max_rate_hz <= MAX_RATE_HZ:
        raise InvalidArgument(f"max_rate_hz is {request.max_rate_hz}; it must be 1 to {MAX_RATE_HZ}, or 0 for the most")
    if len(request.positions) > MAX_POSITIONS:
        raise InvalidArgument(f"{len(request.positions)} positions were sent; at most {MAX_POSITIONS} are taken")
    return request.max_rate_hz or MAX_RATE_HZ


async def watch(hub: Hub, request: WatchRequest, *, max_secs: float) -> AsyncIterator[Encoded]:
    """Messages for one viewer: the snapshot, the edits it has missed, then what changes, for at most `max_secs`.

    A viewer may be long gone behind a proxy that takes whatever is sent to it; who is there calls again.
    Raises ResourceExhausted for a viewer that falls too far behind.
    """
    pace = Pace(check_request(request))
    ends_at = time.monotonic() + max_secs * random.uniform(LEAST_SHARE, 1)  # noqa: S311
    asked = hub.feed.resume(request.positions, request.revision, resumed=request.resumed)
    try:
        await hub.extend_tails(dict(asked.counts))
    except WeightsLabError as error:
        # The viewer is told how many points there are and asks for them itself.
        log.debug("%s: what a viewer has missed could not be fetched: %s", hub.experiment, error)
    position, caught_up = asked, False
    while True:
        missed_from = _missed_from(hub, position)
        if missed_from is not None and caught_up:
            raise ResourceExhausted(
                f"more than {KEPT_EDITS} edits were made while this viewer did not read; connect again"
            )
        shown = position if missed_from is None else dataclasses.replace(position, revision=hub.feed.revision)
        reply, position = hub.reply_since(shown)
        edits_known = position.revision is not None
        if not edits_known:
            # No ledger has answered yet: the viewer still stands where it said, and is owed what came after.
            position = dataclasses.replace(position, revision=shown.revision)
        yield reply
        pace.sent(time.monotonic())
        if missed_from is not None:
            async for edits in hub.edits_between(missed_from, shown.revision or 0):
                yield Encoded.of(WatchResponse(edits=edits))
        caught_up = edits_known
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(HEARTBEAT_SECS, ends_at - time.monotonic())):
                await hub.wait_for_news(position)
        if time.monotonic() >= ends_at:
            return
        await _keep_pace(hub, position, pace)


def _missed_from(hub: Hub, position: Position) -> int | None:
    """The revision after which edits must be asked of the ledger; None when the feed has all that the viewer needs."""
    if position.revision is None or hub.feed.revision is None or position.revision >= hub.feed.edits_floor:
        return None
    return position.revision


async def _keep_pace(hub: Hub, position: Position, pace: Pace) -> None:
    """Wait until the next message may go; what is more than curves goes at once."""
    delay_secs = pace.delay_secs(time.monotonic())
    if delay_secs > 0:
        try:
            async with asyncio.timeout(delay_secs):
                await hub.wait_for_urgent_news(position)
        except TimeoutError:
            return
