"""The whole system as a state machine: what people do through the public API, against a model in plain Python."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from grpclib import GRPCError
from grpclib.const import Status
from grpclib.exceptions import StreamTerminatedError
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from weightslab_proto.weightslab.v1 import (
    Edit,
    EditOperation,
    EditSamplesRequest,
    EditSamplesResponse,
    ListCheckpointsRequest,
    LoadCheckpointRequest,
    PauseRequest,
    QuerySamplesRequest,
    ResumeRequest,
    RunState,
    SampleList,
    SampleRef,
    SaveCheckpointRequest,
    Target,
    UndoEditRequest,
    WatchRequest,
)

from tests.faults.cells import clean
from tests.faults.workload import POOL, TAG_PREFIX, model_now
from tests.support.faulty import FaultyStudio
from tests.support.main_job import query, status, until
from tests.support.model import Sample, Wish
from tests.support.studio import EXPERIMENT, Api

ResultT = TypeVar("ResultT")

SAMPLES = POOL[:8]
# Verbatim data everywhere, and never syntax.
TAGS = [f"{TAG_PREFIX}{text}" for text in ("a,b", 'tag("z")', "<b>\\", "日本")]
TARGETED = (
    EditOperation.ADD_TAG,
    EditOperation.REMOVE_TAG,
    EditOperation.CLEAR_TAGS,
    EditOperation.DISCARD,
    EditOperation.RESTORE,
)
TAGGING = (EditOperation.ADD_TAG, EditOperation.REMOVE_TAG, EditOperation.DELETE_TAG, EditOperation.RENAME_TAG)
# What the system says to an edit that cannot be made.
REFUSALS = {Status.NOT_FOUND, Status.INVALID_ARGUMENT, Status.FAILED_PRECONDITION}


@dataclass(frozen=True, slots=True)
class Filter:
    """A query, and the same in Python: `holds(members, discarded)` for one sample."""

    text: str
    holds: Callable[[Sample, dict[str, set[Sample]], set[Sample]], bool]


def _tagged(tag: str) -> Filter:
    quoted = tag.replace("\\", "\\\\").replace('"', '\\"')
    return Filter(f'tag("{quoted}")', lambda sample, tags, _: sample in tags.get(tag, ()))


_DISCARDED = Filter("discarded", lambda sample, _, discarded: sample in discarded)


def _both(pair: tuple[Filter, Filter]) -> Filter:
    left, right = pair
    return Filter(f"({left.text} and {right.text})", lambda *at: left.holds(*at) and right.holds(*at))


def _either(pair: tuple[Filter, Filter]) -> Filter:
    left, right = pair
    return Filter(f"({left.text} or {right.text})", lambda *at: left.holds(*at) or right.holds(*at))


def _negated(inner: Filter) -> Filter:
    return Filter(f"not {inner.text}", lambda *at: not inner.holds(*at))


FILTERS = st.recursive(
    st.sampled_from([*map(_tagged, TAGS), _DISCARDED]),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(_both), st.tuples(inner, inner).map(_either), inner.map(_negated)
    ),
    max_leaves=5,
)


@dataclass(slots=True)
class Viewer:
    """Somebody who watches all edits, and looks at samples through a filter of their own."""

    revision: int
    filter: Filter = _DISCARDED
    edits: list[Edit] = field(default_factory=list)


class WholeSystem(RuleBasedStateMachine):
    """`studio` is shared by all runs: each begins with what is there, and leaves nothing of its own behind."""

    def __init__(self, studio: FaultyStudio, *, victims: tuple[str, ...], max_restarts: int) -> None:
        super().__init__()
        self.studio = studio
        self.loop = asyncio.new_event_loop()
        self.victims = victims
        self.restarts_left = max_restarts
        self.log: list[tuple[int, str]] = []
        self.last: EditSamplesRequest | None = None
        self.paused = False
        self.loaded: tuple[str, int] | None = None

        async def begin() -> None:
            await self._connect()
            await self.api.experiments.resume(ResumeRequest(experiment=EXPERIMENT))
            self.model = await model_now(self.api)

        self._run(begin())
        self.viewers = [Viewer(self.model.revision), Viewer(self.model.revision)]

    def _run(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        return self.loop.run_until_complete(asyncio.wait_for(work, 120))

    async def _connect(self) -> None:
        self.api: Api = self.studio.api()

        async def answers() -> bool:
            try:
                now = await status(self.api)
                await query(self.api, "discarded", limit=1)
            except (GRPCError, OSError, StreamTerminatedError):
                return False
            # An old status is told until the trainer has found the bus again.
            return now.state in (RunState.RUNNING, RunState.PAUSED) and self.studio.ready()

        await until(answers, what="the studio answers", timeout_secs=90)

    async def _after_restarts(self, act: Callable[[], Awaitable[ResultT]]) -> ResultT:
        """A part that was just started again may still be looking for another: do as a client does, and ask again."""
        while True:
            try:
                return await act()
            except GRPCError as error:
                if error.status not in (Status.UNAVAILABLE, Status.ABORTED):
                    raise
                await asyncio.sleep(0.1)

    def teardown(self) -> None:
        async def end() -> None:
            await self.api.experiments.resume(ResumeRequest(experiment=EXPERIMENT))
            await clean(self.api, self.model)
            await self.api.__aexit__()

        for viewer in self.viewers:
            self._follow(viewer)
        self._run(end())
        self.loop.close()

    # Edits.

    @rule(
        operation=st.sampled_from(TARGETED),
        tag=st.sampled_from(TAGS),
        samples=st.frozensets(st.sampled_from(SAMPLES), min_size=1),
    )
    def edit(self, operation: EditOperation, tag: str, samples: frozenset[Sample]) -> None:
        self._edit(Wish(operation, samples, tag if operation in TAGGING else ""))

    @rule(operation=st.sampled_from([EditOperation.DELETE_TAG, EditOperation.RENAME_TAG]), tags=st.permutations(TAGS))
    def edit_a_tag(self, operation: EditOperation, tags: list[str]) -> None:
        self._edit(Wish(operation, tag=tags[0], new_tag=tags[1] if operation is EditOperation.RENAME_TAG else ""))

    def _edit(self, wish: Wish) -> None:
        refs = [SampleRef(split=split, uid=uid) for split, uid in sorted(wish.samples)]
        request = EditSamplesRequest(
            experiment=EXPERIMENT,
            edit_id=uuid.uuid4().hex,
            operation=wish.operation,
            tag=wish.tag,
            new_tag=wish.new_tag,
            target=Target(samples=SampleList(samples=refs)) if refs else Target(),
        )
        if self._expect(wish, lambda: self.api.samples.edit_samples(request)):
            self.last = request

    def _expect(self, wish: Wish, send: Callable[[], Awaitable[Any]]) -> bool:
        """Send an edit and compare what came of it with the model; whether it was made."""
        possible = self.model.possible(wish)
        try:
            edit = self._run(self._after_restarts(send)).edit
        except GRPCError as error:
            assert error.status in REFUSALS, error
            assert not possible, f"refused: {error.message}, but the model can: {wish}"
            return False
        assert possible, f"made, but the model cannot: {wish}"
        changed = self.model.apply(wish)
        assert (edit.revision, edit.changed_count) == (self.model.revision, changed), wish
        self.log.append((edit.revision, edit.edit_id))
        return True

    @precondition(lambda self: self.last is not None)
    @rule()
    def send_the_last_edit_again(self) -> None:
        last = self.last
        assert last is not None

        async def send() -> EditSamplesResponse:
            return await self.api.samples.edit_samples(last)

        edit = self._run(self._after_restarts(send)).edit
        assert (edit.revision, edit.edit_id) in self.log, "a retry was taken for another edit"

    @precondition(lambda self: self.log)
    @rule(data=st.data(), newest=st.booleans())
    def undo(self, data: st.DataObject, newest: bool) -> None:
        revision = data.draw(st.integers(0, len(self.log) - 1)) + self.log[0][0]
        chosen = self.model.newest_to_undo() if newest else revision
        if not chosen:
            return
        request = UndoEditRequest(experiment=EXPERIMENT, edit_id=uuid.uuid4().hex, revision=0 if newest else revision)
        self._expect(Wish(EditOperation.UNDO, undone=chosen), lambda: self.api.samples.undo_edit(request))

    # Looking.

    @rule(who=st.integers(0, 1), filter=FILTERS)
    def choose_a_filter(self, who: int, filter: Filter) -> None:
        self.viewers[who].filter = filter
        self.look(who)

    @rule(who=st.integers(0, 1))
    def look(self, who: int) -> None:
        """Each viewer sees their own filter, whatever the other does, and all edits in order."""
        viewer = self.viewers[who]
        names = ", ".join(f'"{uid}"' for _, uid in SAMPLES)
        request = QuerySamplesRequest(
            experiment=EXPERIMENT,
            filter=f'split == "train" and uid in ({names}) and ({viewer.filter.text})',
            limit=100,
        )
        page = self._run(self._after_restarts(lambda: self.api.samples.query_samples(request)))
        tags, discarded = self.model.tags, self.model.discarded
        expected = {uid for split, uid in SAMPLES if viewer.filter.holds((split, uid), tags, discarded)}
        assert page.revision == self.model.revision
        assert set(page.uids) == expected, f"{viewer.filter.text} at revision {page.revision}"
        assert page.matched == len(expected)
        assert page.total - page.active == len(discarded)
        self._follow(viewer)

    def _follow(self, viewer: Viewer) -> None:
        """Watch from where the viewer stands until every edit has come; each comes once and in order."""

        async def watch() -> None:
            request = WatchRequest(experiment=EXPERIMENT, revision=viewer.revision, resumed=True)
            stream = self.api.experiments.watch(request)
            assert isinstance(stream, AsyncGenerator)
            async with contextlib.aclosing(stream):
                while viewer.revision < self.model.revision:
                    for edit in (await anext(stream)).edits:
                        assert edit.revision == viewer.revision + 1, f"{edit.revision} after {viewer.revision}"
                        viewer.revision = edit.revision
                        viewer.edits.append(edit)

        self._run(self._after_restarts(watch))
        assert [(edit.revision, edit.edit_id) for edit in viewer.edits] == self.log[: len(viewer.edits)]

    # The run.

    @rule()
    def pause(self) -> None:
        self._run(self._after_restarts(lambda: self.api.experiments.pause(PauseRequest(experiment=EXPERIMENT))))
        self.paused = True
        assert self._run(status(self.api)).state == RunState.PAUSED

    @rule()
    def resume(self) -> None:
        """Resuming goes on, or begins a branch where a checkpoint was loaded."""
        before = self._run(status(self.api))
        reply = self._run(
            self._after_restarts(lambda: self.api.experiments.resume(ResumeRequest(experiment=EXPERIMENT)))
        )
        after = self._run(status(self.api))
        if self.loaded is None:
            assert reply.branch == before.branch
            assert len(after.branches) == len(before.branches)
        else:
            assert reply.branch not in {branch.branch for branch in before.branches}
            (made,) = [branch for branch in after.branches if branch.branch == reply.branch]
            assert (made.parent_branch, made.parent_step) == self.loaded
        self.loaded, self.paused = None, False

    @precondition(lambda self: self.paused and self.loaded is None)
    @rule(data=st.data())
    def save_and_load(self, data: st.DataObject) -> None:
        """The newest saved step at or before the asked one is loaded; that alone makes no branch and no edit."""

        async def save() -> None:
            await self.api.experiments.save_checkpoint(SaveCheckpointRequest(experiment=EXPERIMENT))

        self._run(self._after_restarts(save))
        before = self._run(status(self.api))
        listed = self._run(self.api.experiments.list_checkpoints(ListCheckpointsRequest(experiment=EXPERIMENT)))
        steps = sorted(saved.step for saved in listed.checkpoints if saved.branch == before.branch)
        assert steps[-1] == before.step
        asked = data.draw(st.integers(0, 20)) + steps[-1] - 20
        request = LoadCheckpointRequest(experiment=EXPERIMENT, branch=before.branch, step=asked)
        fitting = [step for step in steps if step <= asked]
        try:
            reply = self._run(self._after_restarts(lambda: self.api.experiments.load_checkpoint(request)))
        except GRPCError as error:
            assert error.status is Status.NOT_FOUND, error
            assert not fitting, error
            return
        assert (reply.checkpoint.branch, reply.checkpoint.step) == (before.branch, fitting[-1])
        self.loaded = (before.branch, fitting[-1])
        after = self._run(status(self.api))
        assert after.state == RunState.PAUSED
        assert [branch.branch for branch in after.branches] == [branch.branch for branch in before.branches]

    # Restarts.

    @precondition(lambda self: self.restarts_left > 0)
    @rule(data=st.data())
    def kill_and_start_again(self, data: st.DataObject) -> None:
        victim = data.draw(st.sampled_from(self.victims))
        self.restarts_left -= 1
        self.studio.kill(victim)
        self.studio.start_one(victim)

        async def reconnect() -> None:
            await self.api.__aexit__()
            await self._connect()

        self._run(reconnect())
