"""One per watched experiment: follows the bus, keeps the feed, wakes the viewers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TypeVar

import betterproto
import nats.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from weightslab_common import subjects
from weightslab_common.bus import Bus
from weightslab_common.errors import WeightsLabError
from weightslab_common.ledger_health import ledger_health
from weightslab_common.messages import parsed
from weightslab_common.service import bounded, end, stop_if_cancelled
from weightslab_proto.weightslab.bus.v1 import EditEvent, LiveUpdate
from weightslab_proto.weightslab.v1 import (
    Edit,
    GetCurvesRequest,
    GetCurvesResponse,
    ListEditsRequest,
    ListEditsResponse,
    ListSignalsRequest,
    ListSignalsResponse,
    RunStatus,
)

from weightslab_gateway.attended import attended, ledger_gone
from weightslab_gateway.availability import availability
from weightslab_gateway.directory import Directory
from weightslab_gateway.encoded import Encoded
from weightslab_gateway.feed import KEPT_POINTS, Feed, Key, Missing, Position, curve_key, key_of
from weightslab_gateway.metrics import Metrics

log = logging.getLogger(__name__)

ReplyT = TypeVar("ReplyT", bound=betterproto.Message)

# Messages of the bus that wait for the hub; what does not fit is fetched by its ordinals and revisions.
QUEUE_MESSAGES = 1000
LOOK_SECS = 1.0
LOOK_TIMEOUT_SECS = 1.5
REQUEST_TIMEOUT_SECS = 10.0
UNSUBSCRIBE_SECS = 1.0
EDITS_PER_PAGE = 500
# Curves of no more points are told to new viewers whole.
SHORT_CURVE_POINTS = 1000


@dataclass(frozen=True, slots=True)
class _Parts:
    """Which parts answered when last asked."""

    ledger: bool = False
    store: bool = False


class Hub:
    """Feeds all viewers of one experiment of this gateway. Two tasks own it: one follows, one looks who answers."""

    def __init__(self, experiment: str, *, bus: Bus, directory: Directory, metrics: Metrics) -> None:
        self.experiment = experiment
        self.feed = Feed(experiment)
        self.viewer_count = 0
        self._bus = bus
        self._directory = directory
        self._metrics = metrics
        self._queue: asyncio.Queue[LiveUpdate | Edit] = asyncio.Queue(QUEUE_MESSAGES)
        self._parts = _Parts()
        self._loaded = asyncio.Event()
        self._ledger_id = ""
        self._subscriptions: list[Subscription] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()
        self._replies: dict[Position, Encoded] = {}
        self._replies_of: Position | None = None

    async def start(self) -> None:
        """Listen, and load what there is; without a ledger the feed starts empty and is loaded when one answers."""
        self._directory.listen(self.experiment, self._on_status)
        if self._bus.connected:
            await self._subscribe()
            await self._look()
        self._refresh()
        self._tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self._keep_looking())]

    async def close(self) -> None:
        """End both tasks and listen no more."""
        self._directory.unlisten(self.experiment, self._on_status)
        await end(self._tasks)
        for subscription in self._subscriptions:
            if self._bus.connected:
                # A server that takes nothing more holds this up.
                with contextlib.suppress(nats.errors.Error, TimeoutError, OSError):
                    await bounded(subscription.unsubscribe(), secs=UNSUBSCRIBE_SECS)

    # For viewers.

    async def wait_for_news(self, position: Position) -> None:
        """Return when there is anything new since `position`."""
        while not self.feed.has_news(position):
            await self._changed.wait()

    async def wait_for_urgent_news(self, position: Position) -> None:
        """Return when more than curves is new since `position`."""
        while not self.feed.is_urgent(position):
            await self._changed.wait()

    def reply_since(self, position: Position) -> tuple[Encoded, Position]:
        """What is new since `position`, encoded once for all viewers that stand there, and where they stand then."""
        now = self.feed.position()
        if self._replies_of is not now:
            self._replies_of = now
            self._replies = {}
        reply = self._replies.get(position)
        if reply is None:
            reply = self._replies[position] = Encoded.of(self.feed.since(position))
        return reply, now

    async def edits_between(self, after: int, upto: int) -> AsyncIterator[list[Edit]]:
        """Pages of the edits after one revision, up to another, from the ledger. Raises WeightsLabError."""
        while after < upto:
            page = await self._ask(
                "list_edits",
                ListEditsRequest(experiment=self.experiment, after_revision=after, limit=EDITS_PER_PAGE),
                ListEditsResponse,
            )
            edits = [edit for edit in page.edits if after < edit.revision <= upto]
            if not edits:
                return
            yield edits
            after = edits[-1].revision

    async def extend_tails(self, counts: dict[Key, int]) -> None:
        """Fetch what a viewer that returns has missed, where that is little. Raises WeightsLabError."""
        for key, told in counts.items():
            tail = self.feed.tail(key)
            if tail is not None and told < tail.first and tail.end - told <= KEPT_POINTS:
                await self._fetch_points(key, told, tail.first)

    # The bus.

    async def _subscribe(self) -> None:
        client = self._bus.client
        for what, received in ((subjects.LIVE, self._on_live), (subjects.EDITS, self._on_edit)):
            self._subscriptions.append(await client.subscribe(subjects.subject(self.experiment, what), cb=received))

    async def _on_live(self, message: Msg) -> None:
        self._enqueue(parsed(LiveUpdate, message.data))

    async def _on_edit(self, message: Msg) -> None:
        self._enqueue(parsed(Edit, parsed(EditEvent, message.data).edit))

    def _enqueue(self, item: LiveUpdate | Edit) -> None:
        try:
            self._queue.put_nowait(item)
        except asyncio.QueueFull:
            self._metrics.live_dropped.inc()

    def _on_status(self, status: RunStatus) -> None:
        self._refresh()

    # Its two tasks.

    async def _follow(self) -> None:
        await self._loaded.wait()
        while True:
            stop_if_cancelled()
            item = await self._queue.get()
            try:
                if isinstance(item, LiveUpdate):
                    await self._take_live(item)
                else:
                    await self._take_edit(item)
            except WeightsLabError as error:
                # The next message shows the same gap again.
                log.debug("%s: what the ledger said could not be completed: %s", self.experiment, error)
            except Exception:
                log.exception("%s: a message of the ledger could not be taken", self.experiment)
            self._notify()

    async def _keep_looking(self) -> None:
        while True:
            stop_if_cancelled()
            await asyncio.sleep(LOOK_SECS)
            try:
                if not self._subscriptions and self._bus.connected:
                    await self._subscribe()
                await self._look()
            except WeightsLabError as error:
                log.debug("%s: %s", self.experiment, error)
            self._refresh()

    async def _look(self) -> None:
        """Ask whether the ledger and its store answer; load once they do."""
        try:
            health = await ledger_health(self._bus, self.experiment, timeout_secs=LOOK_TIMEOUT_SECS)
            self._parts = _Parts(ledger=True, store=health.store_connected)
            if not self._loaded.is_set():
                await self._load()
        except WeightsLabError as error:
            log.debug("%s: %s", self.experiment, error)
            self._parts = _Parts()

    def _refresh(self) -> None:
        """Bring the feed up to what is known of the run and of the parts."""
        trainer = self._directory.trainer_connected(self.experiment)
        self.feed.set_run(
            self._directory.status(self.experiment), trainer_connected=trainer, ledger_connected=self._parts.ledger
        )
        self.feed.set_availability(
            availability(bus=self._bus.connected, ledger=self._parts.ledger, store=self._parts.store, trainer=trainer)
        )
        self._notify()

    def _notify(self) -> None:
        """Wake every viewer that waits."""
        self._changed.set()
        self._changed.clear()

    # What the ledger knows.

    async def _load(self) -> None:
        entry = await self._directory.ledger_entry(self.experiment)
        if entry is None:
            return
        signals = await self._ask("list_signals", ListSignalsRequest(experiment=self.experiment), ListSignalsResponse)
        counts = {key_of(curve.key): curve.point_count for curve in signals.curves}
        for missing in self.feed.load(entry, counts):
            await self._close_gap(missing)
        for key, count in counts.items():
            tail = self.feed.tail(key)
            if 0 < count <= SHORT_CURVE_POINTS and tail is not None and tail.first == count:
                await self._fetch_points(key, 0, count)
        self._loaded.set()

    async def _take_live(self, update: LiveUpdate) -> None:
        if update.ledger_id != self._ledger_id:
            if self._ledger_id:
                log.info("%s: another ledger speaks: loading anew", self.experiment)
                await self._load()
            self._ledger_id = update.ledger_id
        for missing in self.feed.apply_live(update):
            await self._close_gap(missing)
        if self.feed.revision is not None and update.revision > self.feed.revision:
            await self._fetch_edits(update.revision)

    async def _take_edit(self, edit: Edit) -> None:
        if not self.feed.apply_edit(edit):
            await self._fetch_edits(edit.revision)

    async def _fetch_edits(self, upto: int) -> None:
        async for page in self.edits_between(self.feed.revision or 0, upto):
            for edit in page:
                self.feed.apply_edit(edit)
            self._metrics.gaps_repaired.inc()

    async def _close_gap(self, missing: Missing) -> None:
        if missing.gap.point_count > KEPT_POINTS:
            self.feed.skip(missing)
            return
        try:
            await self._fetch_points(missing.key, missing.gap.first, missing.gap.end)
            self._metrics.gaps_repaired.inc()
        except WeightsLabError:
            self.feed.skip(missing)
            raise

    async def _fetch_points(self, key: Key, first: int, end: int) -> None:
        reply = await self._ask(
            "get_curves",
            GetCurvesRequest(
                experiment=self.experiment,
                keys=[curve_key(key)],
                first_ordinal=first,
                # The ledger takes no budget below 4; what comes beyond the gap is known or new, both are fine.
                budget=max(4, end - first),
                raw=True,
            ),
            GetCurvesResponse,
        )
        for curve in reply.curves:
            steps, values = curve.steps, curve.values
            tail = self.feed.tail(key)
            if tail is not None and first < tail.first:
                size_bytes = (tail.first - first) * 8
                steps, values = steps[:size_bytes], values[:size_bytes]
            self.feed.fill(key, first, steps, values)

    async def _ask(self, method: str, request: betterproto.Message, reply_type: type[ReplyT]) -> ReplyT:
        asking = self._bus.request(
            subjects.ledger(self.experiment, method),
            request,
            reply_type,
            timeout_secs=REQUEST_TIMEOUT_SECS,
            part="ledger",
        )
        return await attended(asking, ledger_gone(self._bus, self.experiment), part="ledger")
