"""Everything that people and a training run do at the same time, written down so that it can be checked afterwards.

Ingest is the training itself; the others are clients: two who edit, one who queries, one who watches, one who saves
checkpoints, one who looks at images and at the page. None gives up at a fault, as a good client does not.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
import uuid
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import httpx
import numpy as np
from grpclib import GRPCError
from grpclib.const import Status
from grpclib.exceptions import ProtocolError, StreamTerminatedError
from weightslab_common.columns import unpack_bits
from weightslab_proto.weightslab.v1 import (
    Checkpoint,
    CurveKey,
    CurvePosition,
    Edit,
    EditOperation,
    EditSamplesRequest,
    GetCurvesRequest,
    ListEditsRequest,
    Query,
    QuerySamplesRequest,
    SampleList,
    SampleRef,
    SaveCheckpointRequest,
    SummarizeSelectionRequest,
    Target,
    WatchRequest,
)

from tests.support.faulty import FaultyStudio
from tests.support.history import EditCall, History, Read
from tests.support.model import Sample, SampleModel, Wish
from tests.support.studio import EXPERIMENT, TOKEN, Api

# Longer than the gateway waits for any part, so that its own words are heard.
CALL_SECS = 15.0
# What a fault may make a part say. Anything else, INTERNAL above all, is a fault of ours.
CLEAR_STATUSES = {
    Status.UNAVAILABLE,
    Status.DEADLINE_EXCEEDED,
    Status.ABORTED,
    Status.FAILED_PRECONDITION,
    Status.RESOURCE_EXHAUSTED,
}
ACTIVITIES = ("ingest", "query", "edit", "watch", "checkpoint", "media", "page")
# The samples that are edited; all others stay as they are.
POOL = [("train", str(number)) for number in range(0, 400, 10)]
TAG_PREFIX = "日 "
_LOST = (OSError, TimeoutError, StreamTerminatedError, ProtocolError, httpx.HTTPError)


@dataclass(slots=True)
class Viewer:
    """What a page holds that watches one curve and all edits."""

    revision: int
    key: CurveKey
    points: list[tuple[int, float]] = field(default_factory=list)
    edits: list[Edit] = field(default_factory=list)


@dataclass(slots=True)
class Workload:
    """Run it by `running`; then `history`, `viewer`, `checkpoints` and `said` tell what came of it."""

    studio: FaultyStudio
    random: random.Random
    history: History
    viewer: Viewer
    checkpoints: list[Checkpoint] = field(default_factory=list)
    # What people were told while something was wrong.
    said: Counter[str] = field(default_factory=Counter)
    # Successes of each activity, and what is wrong with the system itself.
    done: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """All activities, while in this context; at its end what is under way is brought to its end."""
        tasks = [
            asyncio.create_task(activity)
            for activity in (
                self._edit(),
                self._edit(),
                self._query(),
                self._watch(),
                self._save(),
                self._look(),
                self._open_page(),
                self._train(),
            )
        ]
        try:
            yield
        finally:
            self._stopping.set()
            done, pending = await asyncio.wait(tasks, timeout=2 * CALL_SECS)
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)
            self.failures += [repr(error) for task in done if (error := task.exception())]

    async def each_succeeds(self, *, timeout_secs: float) -> dict[str, float]:
        """Return once every activity has succeeded since now; seconds that each took."""
        began = time.monotonic()
        before = Counter(self.done)
        took: dict[str, float] = {}
        while len(took) < len(ACTIVITIES):
            for name in ACTIVITIES:
                if name not in took and self.done[name] > before[name]:
                    took[name] = time.monotonic() - began
            if time.monotonic() - began > timeout_secs:
                missing = sorted(set(ACTIVITIES) - took.keys())
                raise TimeoutError(f"not recovered within {timeout_secs:g} s: {missing}; said: {dict(self.said)}")
            await asyncio.sleep(0.02)
        return took

    async def _repeat(self, name: str, pause_secs: float, act: Callable[[Api], Awaitable[bool]]) -> None:
        """Do `act` again and again with a client that is made anew when it is lost. It returns whether it succeeded."""
        while not self._stopping.is_set():
            async with self.studio.api() as api:
                lost = False
                while not lost and not self._stopping.is_set():
                    try:
                        if await act(api):
                            self.done[name] += 1
                    except GRPCError as error:
                        self._heard(name, error)
                    except _LOST as error:
                        self.said[f"{name}: lost: {type(error).__name__}"] += 1
                        lost = True
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._stopping.wait(), pause_secs)

    def _heard(self, name: str, error: GRPCError) -> None:
        self.said[f"{name}: {error.status.name}: {error.message}"] += 1
        if error.status not in CLEAR_STATUSES or len(error.message or "") < 10:
            self.failures.append(f"{name} was told: {error.status.name} {error.message!r}")

    async def _edit(self) -> None:
        tags = [f"{TAG_PREFIX}{name} {uuid.uuid4().hex[:4]}" for name in "ab"]
        pending: list[EditCall] = []
        attempts = [0]

        async def act(api: Api) -> bool:
            if not pending:
                pending.append(EditCall(uuid.uuid4().hex, self._wish(tags), time.monotonic()))
                self.history.edits.append(pending[0])
                attempts[0] = 0
            call = pending[0]
            try:
                reply = await api.samples.edit_samples(_request(call), timeout=CALL_SECS)
            except GRPCError as error:
                if error.status is not Status.NOT_FOUND:
                    attempts[0] += 1
                    raise
                # No such tag at that moment, which changes nothing. An earlier attempt may still be under way.
                if not attempts[0]:
                    self.history.edits.remove(call)
                pending.clear()
                return True
            except _LOST:
                attempts[0] += 1
                raise
            call.ended, call.revision, call.changed_count = (
                time.monotonic(),
                reply.edit.revision,
                reply.edit.changed_count,
            )
            pending.clear()
            return True

        await self._repeat("edit", 0.02, act)

    def _wish(self, tags: list[str]) -> Wish:
        operation = self.random.choice(
            [EditOperation.ADD_TAG] * 3
            + [EditOperation.DISCARD, EditOperation.RESTORE] * 2
            + [EditOperation.REMOVE_TAG, EditOperation.CLEAR_TAGS]
        )
        samples = frozenset(self.random.sample(POOL, self.random.randint(1, 12)))
        tagging = operation in (EditOperation.ADD_TAG, EditOperation.REMOVE_TAG)
        return Wish(operation, samples, self.random.choice(tags) if tagging else "")

    async def _query(self) -> None:
        async def act(api: Api) -> bool:
            began = time.monotonic()
            page = await api.samples.query_samples(
                QuerySamplesRequest(experiment=EXPERIMENT, filter="discarded", limit=1000), timeout=CALL_SECS
            )
            seen = frozenset((page.splits[index], uid) for index, uid in zip(page.split_index, page.uids, strict=True))
            assert unpack_bits(page.discarded, count=len(page.uids)).all(), "a page of discards shows others"
            self.history.reads.append(Read(began, time.monotonic(), page.revision, None, seen))
            return True

        await self._repeat("query", 0.05, act)

    async def _watch(self) -> None:
        async def act(api: Api) -> bool:
            viewer = self.viewer
            request = WatchRequest(
                experiment=EXPERIMENT,
                positions=[CurvePosition(key=viewer.key, point_count=len(viewer.points))],
                revision=viewer.revision,
                resumed=True,
            )
            stream = api.experiments.watch(request)
            try:
                while not self._stopping.is_set():
                    # At least an experiment's state comes each second; a stream without a word is a dead one.
                    reply = await asyncio.wait_for(anext(stream), timeout=CALL_SECS)
                    for edit in reply.edits:
                        if edit.revision > viewer.revision:
                            assert edit.revision == viewer.revision + 1, f"{edit.revision} after {viewer.revision}"
                            viewer.edits.append(edit)
                            viewer.revision = edit.revision
                    for delta in reply.curves:
                        if delta.key == viewer.key:
                            await self._take_points(api, delta.first_ordinal, delta.steps, delta.values)
                    if reply.curves:
                        self.done["watch"] += 1
            except StopAsyncIteration:
                pass
            finally:
                assert isinstance(stream, AsyncGenerator)
                await stream.aclose()
            return False

        await self._repeat("watch", 0.1, act)

    async def _take_points(self, api: Api, first: int, steps: bytes, values: bytes) -> None:
        held = len(self.viewer.points)
        if first > held:
            request = GetCurvesRequest(
                experiment=EXPERIMENT, keys=[self.viewer.key], first_ordinal=held, raw=True, budget=100_000
            )
            (curve,) = (await api.signals.get_curves(request, timeout=CALL_SECS)).curves
            first, steps, values = held, curve.steps, curve.values
        self.viewer.points += points_of(steps, values)[held - first :]

    async def _save(self) -> None:
        async def act(api: Api) -> bool:
            reply = await api.experiments.save_checkpoint(
                SaveCheckpointRequest(experiment=EXPERIMENT), timeout=CALL_SECS
            )
            self.checkpoints.append(reply.checkpoint)
            return True

        await self._repeat("checkpoint", 0.3, act)

    async def _look(self) -> None:
        numbers = iter(range(10**9))
        headers = {"authorization": f"Bearer {TOKEN}"}

        async def act(_: Api) -> bool:
            # Another size each time, so that no cache answers.
            url = f"http://127.0.0.1:{self.studio.web_link.port}/media/{EXPERIMENT}/train/{next(numbers) % 1000}?w=48"
            async with httpx.AsyncClient(timeout=CALL_SECS, headers=headers) as http:
                reply = await http.get(url)
            if reply.status_code == 200:
                assert reply.headers["content-type"].startswith("image/")
                return True
            self.said[f"media: HTTP {reply.status_code}: {reply.text}"] += 1
            if reply.status_code not in (502, 503, 504) or len(reply.text) < 10:
                self.failures.append(f"media was told: {reply.status_code} {reply.text!r}")
            return False

        await self._repeat("media", 0.2, act)

    async def _open_page(self) -> None:
        async def act(_: Api) -> bool:
            async with httpx.AsyncClient(timeout=CALL_SECS) as http:
                reply = await http.get(f"http://127.0.0.1:{self.studio.page.port}/")
            assert reply.status_code == 200, reply.status_code
            return True

        await self._repeat("page", 0.3, act)

    async def _train(self) -> None:
        last = self.studio.trained_steps
        while not self._stopping.is_set():
            now = self.studio.trained_steps
            if now != last:
                self.done["ingest"] += 1
                last = now
            await asyncio.sleep(0.05)


def points_of(steps: bytes, values: bytes) -> list[tuple[int, float]]:
    """Points of a curve as pairs."""
    return list(zip(np.frombuffer(steps, "<i8").tolist(), np.frombuffer(values, "<f8").tolist(), strict=True))


def _request(call: EditCall) -> EditSamplesRequest:
    refs = [SampleRef(split=split, uid=uid) for split, uid in sorted(call.wish.samples)]
    return EditSamplesRequest(
        experiment=EXPERIMENT,
        edit_id=call.edit_id,
        operation=call.wish.operation,
        tag=call.wish.tag,
        target=Target(samples=SampleList(samples=refs)),
    )


async def edits_since(api: Api, revision: int) -> list[Edit]:
    """The log after a revision."""
    found: list[Edit] = []
    while True:
        page = await api.samples.list_edits(
            ListEditsRequest(experiment=EXPERIMENT, after_revision=revision, limit=1000), timeout=CALL_SECS
        )
        found += page.edits
        if len(page.edits) < 1000:
            return found
        revision = found[-1].revision


async def members(api: Api, filter: str) -> tuple[int, frozenset[Sample]]:
    """The revision, and every sample that a query of at most a thousand matches."""
    page = await api.samples.query_samples(
        QuerySamplesRequest(experiment=EXPERIMENT, filter=filter, limit=1000), timeout=CALL_SECS
    )
    assert page.matched == len(page.uids), f"{filter!r} matches {page.matched} samples"
    samples = ((page.splits[index], uid) for index, uid in zip(page.split_index, page.uids, strict=True))
    return page.revision, frozenset(samples)


async def model_now(api: Api) -> SampleModel:
    """A model that stands where the experiment stands: nobody may edit meanwhile."""
    model = SampleModel()
    model.revision, discarded = await members(api, "discarded")
    model.discarded = set(discarded)
    everything = SummarizeSelectionRequest(experiment=EXPERIMENT, target=Target(query=Query()))
    for count in (await api.samples.summarize_selection(everything, timeout=CALL_SECS)).tags:
        revision, tagged = await members(api, f'tag("{count.tag}")')
        assert revision == model.revision, "somebody edits"
        model.tags[count.tag] = set(tagged)
    return model
