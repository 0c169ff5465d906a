"""The load of a rehearsal: people who edit and people who watch, through the proxy, and a check of what they hold."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

import httpx
import numpy as np
from grpclib import GRPCError
from grpclib.const import Status
from weightslab_common.columns import I64, unpack
from weightslab_proto.weightslab.v1 import (
    CurveKey,
    CurvePosition,
    Edit,
    EditOperation,
    EditSamplesRequest,
    EditSamplesResponse,
    ExportPointsRequest,
    ListEditsRequest,
    Mode,
    WatchRequest,
    WatchResponse,
)

from tests.support.grpcweb import GrpcWebClient
from tests.support.main_job import TRAIN, edit_request, query, status, until
from tests.support.rehearsal import Deployment
from tests.support.studio import EXPERIMENT, Api

EDIT = "/weightslab.v1.SampleService/EditSamples"
WATCH = "/weightslab.v1.ExperimentService/Watch"
SIGNAL = "train/loss"
# What a client sees of a part that is being replaced; anything else is a fault.
PASSING = {Status.UNAVAILABLE, Status.DEADLINE_EXCEEDED, Status.CANCELLED, Status.UNKNOWN}
_PAUSE_SECS = 0.05


@dataclass
class Editor:
    """Tags samples one edit after the other; an edit without an answer is sent again with its id."""

    web: GrpcWebClient
    name: str
    acknowledged: dict[str, int] = field(default_factory=dict)
    retries: int = 0
    longest_secs: float = 0.0

    async def run(self) -> None:
        # Every edit changes something.
        for number in range(20 * 1400):
            tag = f"{self.name} {number % 20}"
            request = edit_request(EditOperation.ADD_TAG, [str(number // 20)], tag=tag)
            began = time.monotonic()
            self.acknowledged[request.edit_id] = await self._send(request)
            self.longest_secs = max(self.longest_secs, time.monotonic() - began)
            await asyncio.sleep(_PAUSE_SECS)

    async def _send(self, request: EditSamplesRequest) -> int:
        while True:
            try:
                return (await self.web.unary(EDIT, request, EditSamplesResponse)).edit.revision
            except GRPCError as error:
                if error.status not in PASSING:
                    raise
            except (httpx.TransportError, KeyError):
                # Cut off in the middle of an answer.
                pass
            self.retries += 1
            await asyncio.sleep(_PAUSE_SECS)


@dataclass
class Held:
    """The steps of a curve from its point `first` on, which is where a viewer began to watch."""

    first: int
    steps: list[int] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many points a viewer knows of."""
        return self.first + len(self.steps)


@dataclass
class Viewer:
    """Watches as a page does: holds points by ordinal and edits by revision, and comes back from where it stands."""

    web: GrpcWebClient
    edits: list[Edit] = field(default_factory=list)
    curves: dict[str, Held] = field(default_factory=dict)
    # Faults in the numbering that it was shown.
    faults: list[str] = field(default_factory=list)
    revision: int = 0
    reconnects: int = 0
    # From the end of a stream to the first message of the next.
    away_secs: list[float] = field(default_factory=list)

    async def run(self) -> None:
        left: float | None = None
        while True:
            request = WatchRequest(
                experiment=EXPERIMENT,
                positions=[
                    CurvePosition(key=_key(branch), point_count=held.count) for branch, held in self.curves.items()
                ],
                revision=self.revision,
                resumed=left is not None,
            )
            try:
                async for message in self.web.stream(WATCH, request, WatchResponse):
                    if left is not None:
                        self.away_secs.append(time.monotonic() - left)
                        left = None
                    self._take(message)
            except GRPCError as error:
                if error.status not in PASSING:
                    raise
            except (httpx.TransportError, KeyError):
                pass
            if left is None:
                self.reconnects += 1
                left = time.monotonic()
            await asyncio.sleep(_PAUSE_SECS)

    def _take(self, message: WatchResponse) -> None:
        for edit in message.edits:
            if self.edits and edit.revision != self.revision + 1:
                self.faults.append(f"revision {edit.revision} after {self.revision}")
            self.edits.append(edit)
            self.revision = edit.revision
        for delta in message.curves:
            if delta.key.signal != SIGNAL or delta.key.mode != Mode.TRAIN:
                continue
            held = self.curves.setdefault(delta.key.branch, Held(first=delta.first_ordinal))
            if delta.first_ordinal > held.count:
                self.faults.append(f"point {delta.first_ordinal} of {delta.key.branch} after {held.count}")
            held.steps += unpack(delta.steps, I64).tolist()[max(0, held.count - delta.first_ordinal) :]
            if held.count < delta.point_count:
                # Told of, but left out, to be fetched: a page asks for them, and goes on behind them.
                self.curves[delta.key.branch] = Held(first=delta.point_count)


def _key(branch: str) -> CurveKey:
    return CurveKey(branch=branch, signal=SIGNAL, mode=Mode.TRAIN)


class Load:
    """Editors and viewers that run until `end`."""

    def __init__(self, deployment: Deployment, *, editors: int, viewers: int) -> None:
        self._deployment = deployment
        self.editors = [Editor(deployment.web(), f"editor {number}") for number in range(editors)]
        self.viewers = [Viewer(deployment.web()) for _ in range(viewers)]
        self._people: list[Editor | Viewer] = [*self.editors, *self.viewers]
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self) -> None:
        self._tasks = [asyncio.create_task(person.run()) for person in self._people]

    @property
    def acknowledged(self) -> dict[str, int]:
        """Revision by edit id, of every edit that was answered."""
        return {key: revision for editor in self.editors for key, revision in editor.acknowledged.items()}

    def check(self) -> None:
        """Raise what went wrong so far."""
        for task in self._tasks:
            if task.done():
                task.result()

    async def goes_on(self, *, what: str) -> None:
        """Return once every editor had another edit acknowledged and every viewer was shown another."""
        edits = [len(editor.acknowledged) for editor in self.editors]
        seen = [viewer.revision for viewer in self.viewers]

        async def moved() -> bool:
            self.check()
            edited = all(len(e.acknowledged) > before for e, before in zip(self.editors, edits, strict=True))
            return edited and all(v.revision > before for v, before in zip(self.viewers, seen, strict=True))

        await until(moved, what=f"edits and viewers go on after {what}", timeout_secs=90)

    async def end(self) -> None:
        """Let editors stop, viewers catch up, then stop these, too."""
        editing, watching = self._tasks[: len(self.editors)], self._tasks[len(self.editors) :]
        await _stopped(editing)
        last = max(self.acknowledged.values())

        async def caught_up() -> bool:
            for task in watching:
                if task.done():
                    task.result()
            return all(viewer.revision >= last for viewer in self.viewers)

        await until(caught_up, what="viewers are shown every edit", timeout_secs=90)
        await _stopped(watching)
        for person in self._people:
            await person.web.close()


async def trained(deployment: Deployment) -> None:
    """Return once the run trains and the ledger has its samples."""
    async with deployment.api(deployment.gateways[0]) as api:

        async def begun() -> bool:
            try:
                return (await status(api)).step > 0 and (await query(api, TRAIN, limit=1)).matched > 0
            except (GRPCError, AssertionError):
                # Not heard of yet, or not registered.
                return False

        await until(begun, what="the run trains", timeout_secs=120)


async def _stopped(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if not isinstance(outcome, asyncio.CancelledError):
            assert outcome is None, outcome


async def nothing_is_lost(deployment: Deployment, load: Load) -> dict[str, int]:
    """Assert that every acknowledged edit is in the log once and in order, and that curves have every step once."""
    async with deployment.api(deployment.gateways[0]) as api:
        logged = await _log(api)
        revisions = [edit.revision for edit in logged]
        assert revisions == list(range(1, len(logged) + 1))
        by_id = {edit.edit_id: edit.revision for edit in logged}
        assert len(by_id) == len(logged), "an edit was applied twice"
        for edit_id, revision in load.acknowledged.items():
            assert by_id.get(edit_id) == revision, f"edit {edit_id} was acknowledged as {revision}"
        for viewer in load.viewers:
            assert not viewer.faults, viewer.faults[:5]
            # An edit that was on its way when its editor was stopped may be in the log, and not told yet.
            first, last = viewer.edits[0].revision, viewer.edits[-1].revision
            assert last >= max(load.acknowledged.values())
            assert [edit.edit_id for edit in viewer.edits] == [edit.edit_id for edit in logged[first - 1 : last]]
        branch = (await status(api)).branch
        steps = await _steps(api, branch)
    assert (np.diff(steps) == 1).all(), "a step was lost or doubled on the way to the ledger"
    for viewer in load.viewers:
        held = viewer.curves[branch]
        assert held.steps == steps[held.first : held.count].tolist(), "a viewer holds other points than the ledger"
    return {"edits": len(logged), "points": len(steps)}


async def _log(api: Api) -> list[Edit]:
    found: list[Edit] = []
    while True:
        page = await api.samples.list_edits(
            ListEditsRequest(experiment=EXPERIMENT, after_revision=len(found), limit=1000)
        )
        found += page.edits
        if len(found) >= page.revision:
            return found


async def _steps(api: Api, branch: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    request = ExportPointsRequest(experiment=EXPERIMENT, keys=[_key(branch)])
    chunks = [unpack(chunk.steps, I64) async for chunk in api.signals.export_points(request)]
    return np.concatenate(chunks)
