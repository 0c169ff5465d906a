"""Replay of the log gives what was used, at any revision and at any step of any branch."""

from __future__ import annotations

from collections.abc import AsyncIterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from weightslab_common.errors import FailedPrecondition, NotFound
from weightslab_ledger.edits import EditState, Entry, Order
from weightslab_ledger.replay import branch_order, revision_at, state_at
from weightslab_proto.weightslab.v1 import EditOperation

ROWS = 6


async def _entries(entries: list[Entry]) -> AsyncIterator[Entry]:
    for entry in entries:
        yield entry


class Run:
    """A trainer that takes steps on branches, obeys edits, and notes what it used."""

    def __init__(self) -> None:
        self.state = EditState()
        self.entries: list[Entry] = []
        self.branches = ["b0"]
        self.step = 0
        # Active set and revision by (branch, step), as they were when the step was taken.
        self.used: dict[tuple[str, int], tuple[set[int], int]] = {}
        self.active_at: list[tuple[set[int], dict[str, list[int]]]] = [(set(), {})]

    def edit(self, operation: EditOperation, rows: set[int], tag: str = "", new_tag: str = "") -> None:
        order = Order(
            str(len(self.entries)), "", operation, tag, np.array(sorted(rows), dtype=np.uint32), 0, new_tag=new_tag
        )
        try:
            entry = (
                self.state.plan_undo(order, self.entries[self.state.newest_to_undo() - 1])
                if operation is EditOperation.UNDO
                else self.state.plan(order)
            )
        except (NotFound, FailedPrecondition):
            return
        self._apply(entry)

    def _apply(self, entry: Entry) -> None:
        self.state.apply(entry)
        self.entries.append(entry)
        # The trainer answers: the next step obeys.
        self.state.set_effective(entry.summary.revision, step=self.step + 1, branch=self.branches[-1])
        self.active_at.append((self._discarded(), self._tags()))

    def _discarded(self) -> set[int]:
        return set(np.flatnonzero(self.state.discarded).tolist())

    def _tags(self) -> dict[str, list[int]]:
        return {tag: np.flatnonzero(mask).tolist() for tag, mask in self.state.tags.items()}

    def train(self) -> None:
        self.step += 1
        self.used[self.branches[-1], self.step] = (self._discarded(), self.state.revision)

    def load(self, step: int) -> None:
        """Go back and begin a branch there; edits stay."""
        self.step = min(step, self.step)
        self.branches.append(f"b{len(self.branches)}")


ACTION = st.one_of(
    st.tuples(st.just("train"), st.integers(1, 4)),
    st.tuples(st.just("load"), st.integers(0, 8)),
    st.tuples(
        st.sampled_from([EditOperation.DISCARD, EditOperation.RESTORE, EditOperation.UNDO]),
        st.sets(st.integers(0, ROWS - 1)),
    ),
    st.tuples(
        st.sampled_from([EditOperation.ADD_TAG, EditOperation.REMOVE_TAG, EditOperation.CLEAR_TAGS]),
        st.sets(st.integers(0, ROWS - 1)),
    ),
    st.tuples(st.just(EditOperation.RENAME_TAG), st.integers(0, 99)),
    st.tuples(st.just(EditOperation.DELETE_TAG), st.just(0)),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(ACTION, max_size=30))
async def test_replay_gives_what_was_used_at_every_step_and_revision(actions: list[tuple[object, object]]) -> None:
    run = Run()
    for kind, value in actions:
        if kind == "train":
            for _ in range(value):  # type: ignore[call-overload]
                run.train()
        elif kind == "load":
            run.load(value)  # type: ignore[arg-type]
        elif kind is EditOperation.RENAME_TAG:
            run.edit(kind, set(), "x", f"y{len(run.entries)}")
        else:
            assert isinstance(kind, EditOperation)
            takes_tag = kind in (EditOperation.ADD_TAG, EditOperation.REMOVE_TAG, EditOperation.DELETE_TAG)
            run.edit(kind, value if isinstance(value, set) else set(), "x" if takes_tag else "")
    for (branch, step), (discarded, _) in run.used.items():
        revision = revision_at(run.state.summaries, run.branches, branch=branch, step=step)
        replayed = await state_at(_entries(run.entries), revision)
        assert set(np.flatnonzero(replayed.discarded).tolist()) == discarded
    for revision, (discarded, tags) in enumerate(run.active_at):
        replayed = await state_at(_entries(run.entries), revision)
        assert set(np.flatnonzero(replayed.discarded).tolist()) == discarded
        assert {tag: np.flatnonzero(mask).tolist() for tag, mask in replayed.tags.items()} == tags


def test_an_unknown_branch_is_named() -> None:
    with pytest.raises(NotFound, match="no branch 'c'; there are: 'a', 'b'"):
        revision_at([], ["a", "b"], branch="c", step=1)


def test_branches_that_only_the_log_names_come_last() -> None:
    run = Run()
    run.edit(EditOperation.DISCARD, {1})
    assert branch_order(["x"], run.state.summaries) == ["x", "b0"]
