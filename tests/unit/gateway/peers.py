"""The other side of the bus for tests of the gateway: a ledger and a trainer, as the contract describes them."""

from __future__ import annotations

import itertools
import time

import numpy as np
from nats.aio.msg import Msg
from weightslab_common import subjects
from weightslab_common.bus import Bus
from weightslab_common.columns import F64, I64, pack
from weightslab_common.errors import InvalidArgument
from weightslab_common.media import Layer, Picture, Reply, layer_of, response_of
from weightslab_proto.weightslab.bus.v1 import (
    EditEvent,
    GetMediaPageRequest,
    GetMediaPageResponse,
    LedgerExperiment,
    LedgerHealthRequest,
    LedgerHealthResponse,
    ListLedgerExperimentsRequest,
    ListLedgerExperimentsResponse,
    LiveUpdate,
    MediaBoxes,
)
from weightslab_proto.weightslab.v1 import (
    Counters,
    Curve,
    CurveDelta,
    CurveInfo,
    CurveKey,
    Edit,
    EditSamplesRequest,
    EditSamplesResponse,
    GetCurvesRequest,
    GetCurvesResponse,
    ListEditsRequest,
    ListEditsResponse,
    ListSignalsRequest,
    ListSignalsResponse,
    Mode,
    PauseRequest,
    PauseResponse,
    QuerySamplesRequest,
    QuerySamplesResponse,
    RunState,
    RunStatus,
)

LOSS = CurveKey(branch="main", signal="train/loss", mode=Mode.TRAIN)
_ledger_numbers = itertools.count(1)


def points(first: int, end: int) -> tuple[bytes, bytes]:
    """Steps and values of points `first` to `end - 1`: point n is at step n and has the value n / 10."""
    ordinals = np.arange(first, end)
    return pack(ordinals, I64), pack(ordinals / 10, F64)


async def settle(bus: Bus) -> None:
    """Return when the server knows every subscription of `bus`: `flush` may overtake them, a message cannot."""
    inbox = bus.client.new_inbox()
    subscription = await bus.client.subscribe(inbox)
    await bus.client.publish(inbox, b"")
    await subscription.next_msg(timeout=5)
    await subscription.unsubscribe()


class LedgerPeer:
    """Holds one curve of `point_count` points and a log of edits."""

    def __init__(self, bus: Bus, experiment: str, *, point_count: int = 0) -> None:
        self.experiment = experiment
        self.point_count = point_count
        self.edits: list[Edit] = []
        self.requests: list[object] = []
        self.query_headers: list[dict[str, str]] = []
        self.store_connected = True
        self.ledger_id = f"ledger-{next(_ledger_numbers)}"
        self._bus = bus

    @property
    def revision(self) -> int:
        return len(self.edits)

    async def start(self) -> None:
        serve = self._bus.serve
        experiment = self.experiment
        await serve(subjects.ledger(subjects.ALL_EXPERIMENTS, "list"), ListLedgerExperimentsRequest, self._list)
        await serve(subjects.ledger(experiment, "health"), LedgerHealthRequest, self._health)
        await serve(subjects.ledger(experiment, "list_signals"), ListSignalsRequest, self._list_signals)
        await serve(subjects.ledger(experiment, "get_curves"), GetCurvesRequest, self._get_curves)
        await serve(subjects.ledger(experiment, "list_edits"), ListEditsRequest, self._list_edits)
        await serve(subjects.ledger(experiment, "query_samples"), QuerySamplesRequest, self._query)
        await self._bus.client.subscribe(subjects.ledger(experiment, "query_samples"), cb=self._hear_query)
        await serve(subjects.ledger(experiment, "edit_samples"), EditSamplesRequest, self._edit)
        await settle(self._bus)

    async def say_live(self, *, from_ordinal: int | None = None) -> None:
        """Tell what is stored; `from_ordinal` is where the points that are carried begin."""
        update = LiveUpdate(revision=self.revision, counters=self._counters(), ledger_id=self.ledger_id)
        if from_ordinal is not None:
            steps, values = points(from_ordinal, self.point_count)
            update.curves = [
                CurveDelta(
                    key=LOSS, first_ordinal=from_ordinal, steps=steps, values=values, point_count=self.point_count
                )
            ]
        await self._bus.publish(subjects.subject(self.experiment, subjects.LIVE), update)

    async def grow(self, count: int, *, told: bool = True) -> None:
        """Store `count` more points, and tell it."""
        first = self.point_count
        self.point_count += count
        if told:
            await self.say_live(from_ordinal=first)

    async def edit(self, *, told: bool = True) -> Edit:
        """Make an edit, and tell it."""
        edit = Edit(revision=self.revision + 1, edit_id=f"e{self.revision + 1}", counters=self._counters())
        self.edits.append(edit)
        if told:
            event = EditEvent(edit=bytes(edit), revision=edit.revision)
            await self._bus.publish(subjects.subject(self.experiment, subjects.EDITS), event)
        return edit

    def _counters(self) -> Counters:
        return Counters(total=100, active=100 - self.revision)

    async def _list(self, request: ListLedgerExperimentsRequest) -> ListLedgerExperimentsResponse:
        entry = LedgerExperiment(experiment=self.experiment, revision=self.revision, counters=self._counters())
        return ListLedgerExperimentsResponse(experiments=[entry], store_connected=self.store_connected)

    async def _health(self, request: LedgerHealthRequest) -> LedgerHealthResponse:
        return LedgerHealthResponse(
            ledger_id=self.ledger_id, store_connected=self.store_connected, revision=self.revision
        )

    async def _list_signals(self, request: ListSignalsRequest) -> ListSignalsResponse:
        return ListSignalsResponse(curves=[CurveInfo(key=LOSS, point_count=self.point_count)])

    async def _get_curves(self, request: GetCurvesRequest) -> GetCurvesResponse:
        assert request.raw, "only ranges of raw points are asked for here"
        assert request.budget >= 4, "the contract takes no smaller budget"
        self.requests.append(request)
        end = min(self.point_count, request.first_ordinal + request.budget)
        steps, values = points(request.first_ordinal, end)
        curve = Curve(key=LOSS, point_count=self.point_count, steps=steps, values=values)
        return GetCurvesResponse(curves=[curve])

    async def _list_edits(self, request: ListEditsRequest) -> ListEditsResponse:
        self.requests.append(request)
        edits = [edit for edit in self.edits if edit.revision > request.after_revision]
        return ListEditsResponse(edits=edits[: request.limit or 100], revision=self.revision)

    async def _hear_query(self, message: Msg) -> None:
        self.query_headers.append(dict(message.headers or {}))

    async def _query(self, request: QuerySamplesRequest) -> QuerySamplesResponse:
        if request.offset < 0:
            raise InvalidArgument(f"offset is {request.offset}; it must not be negative, ja: 日本")
        return QuerySamplesResponse(total=100, matched=len(request.filter), uids=[request.filter])

    async def _edit(self, request: EditSamplesRequest) -> EditSamplesResponse:
        edit = await self.edit()
        return EditSamplesResponse(edit=Edit(revision=edit.revision, author=request.author, edit_id=request.edit_id))


class TrainerPeer:
    """Says its status, pauses, and gives images."""

    def __init__(self, bus: Bus, experiment: str) -> None:
        self.experiment = experiment
        self.status = RunStatus(experiment=experiment, run_id="run-1", state=RunState.RUNNING, step=0)
        self.media_requests: list[str] = []
        # How many images each of them asked for.
        self.media_pages: list[int] = []
        self.media_version = "1"
        self.media_boxes: MediaBoxes | None = None
        self._bus = bus

    async def start(self) -> None:
        await self._bus.serve(subjects.command(self.experiment, "pause"), PauseRequest, self._pause)
        await self._bus.serve(subjects.media(self.experiment), GetMediaPageRequest, self.media_page, queue="media")
        await settle(self._bus)

    async def say_status(self, *, step: int = 0, state: RunState = RunState.RUNNING) -> None:
        self.status = RunStatus(
            experiment=self.experiment,
            run_id="run-1",
            sequence=self.status.sequence + 1,
            state=state,
            step=step,
            sent_unix_ms=int(time.time() * 1000),
        )
        subject = subjects.subject(self.experiment, subjects.STATUS)
        message_id = f"{self.experiment}-{self.status.sequence}"
        await self._bus.store(subject, bytes(self.status), message_id=message_id)

    async def _pause(self, request: PauseRequest) -> PauseResponse:
        await self.say_status(step=7, state=RunState.PAUSED)
        return PauseResponse(step=7)

    async def media_page(self, request: GetMediaPageRequest) -> GetMediaPageResponse:
        self.media_pages.append(len(request.uids))
        return response_of([self.media(layer_of(request), uid) for uid in request.uids])

    def media(self, wanted: Layer, uid: str) -> Reply:
        self.media_requests.append(uid)
        content = f"{wanted.split}|{uid}|{wanted.layer}|{wanted.size_px}|{wanted.slice}".encode()
        return Picture(
            content=content,
            media_type="image/png",
            version=self.media_version,
            source_width_px=40,
            source_height_px=20,
            boxes=self.media_boxes,
        )
