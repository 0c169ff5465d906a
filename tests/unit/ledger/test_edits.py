"""The edit log against a plain model: replaying it gives the same tags and discards, and undo gives back what was."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from weightslab_common.errors import FailedPrecondition, NotFound, ResourceExhausted
from weightslab_ledger.edit_store import decode_entry, encode_entry
from weightslab_ledger.edits import DISCARDS, MAX_TAGS, EditState, Entry, Order
from weightslab_proto.weightslab.v1 import EditOperation

ROW_COUNT = 40
ROW_SETS = st.sets(st.integers(0, ROW_COUNT - 1), max_size=12)
TAGS = st.sampled_from(["hard", "日本", "discarded", "a,b"])
Model = dict[str, set[int]]


def _order(operation: EditOperation, rows: set[int], tag: str = "", edit_id: str = "e") -> Order:
    return Order(edit_id, "somebody", operation, tag, np.array(sorted(rows), dtype=np.uint32), 0)


class EditLog(RuleBasedStateMachine):
    """Random edits and undos; `before[r]` is the plain model before revision r."""

    def __init__(self) -> None:
        super().__init__()
        self.state = EditState()
        self.model: Model = {DISCARDS: set()}
        self.log: list[tuple[bytes, bytes]] = []
        self.entries: list[Entry] = []

    def _commit(self, entry: Entry) -> None:
        self.log.append(encode_entry(entry))
        self.entries.append(entry)
        self.state.apply(entry)

    @rule(rows=ROW_SETS, tag=TAGS)
    def add_tag(self, rows: set[int], tag: str) -> None:
        self._commit(self.state.plan(_order(EditOperation.ADD_TAG, rows, tag)))
        self.model[tag] = self.model.get(tag, set()) | rows

    @rule(rows=ROW_SETS, tag=TAGS)
    def remove_tag(self, rows: set[int], tag: str) -> None:
        order = _order(EditOperation.REMOVE_TAG, rows, tag)
        if tag not in self.model:
            with pytest.raises(NotFound, match="there is no tag"):
                self.state.plan(order)
            return
        self._commit(self.state.plan(order))
        self.model[tag] -= rows

    @rule(tag=TAGS)
    def delete_tag(self, tag: str) -> None:
        if tag in self.model:
            entry = self.state.plan(_order(EditOperation.DELETE_TAG, set(), tag))
            assert entry.summary.changed_count == len(self.model.pop(tag))
            self._commit(entry)

    @rule(rows=ROW_SETS)
    def clear_tags(self, rows: set[int]) -> None:
        entry = self.state.plan(_order(EditOperation.CLEAR_TAGS, rows))
        touched = {row for tag, members in self.model.items() if tag != DISCARDS for row in members & rows}
        assert entry.summary.changed_count == len(touched)
        self._commit(entry)
        for tag in self.model:
            if tag != DISCARDS:
                self.model[tag] -= rows

    @rule(rows=ROW_SETS, discard=st.booleans())
    def discard_or_restore(self, rows: set[int], discard: bool) -> None:
        operation = EditOperation.DISCARD if discard else EditOperation.RESTORE
        entry = self.state.plan(_order(operation, rows))
        after = self.model[DISCARDS] | rows if discard else self.model[DISCARDS] - rows
        assert entry.summary.changed_count == len(after ^ self.model[DISCARDS])
        self._commit(entry)
        self.model[DISCARDS] = after

    @precondition(lambda self: self.entries)
    @rule()
    def undo_and_redo_the_newest(self) -> None:
        before = copy.deepcopy(self.model)
        newest = self.entries[-1]
        try:
            undo = self.state.plan_undo(_order(EditOperation.UNDO, set()), newest)
        except FailedPrecondition:
            pytest.fail("the newest edit cannot be taken back yet")
        self._commit(undo)
        for change in newest.changes:
            for row in change.rows.tolist():
                assert self.state.mask(change.bitmap, ROW_COUNT)[row] != change.value
        with pytest.raises(FailedPrecondition, match="taken back already"):
            self.state.plan_undo(_order(EditOperation.UNDO, set()), newest)
        self._commit(self.state.plan_undo(_order(EditOperation.UNDO, set()), undo))
        self.model = before

    @precondition(lambda self: self.entries)
    @rule(data=st.data())
    def undo_any(self, data: st.DataObject) -> None:
        entry = data.draw(st.sampled_from(self.entries))
        try:
            undo = self.state.plan_undo(_order(EditOperation.UNDO, set()), entry)
        except FailedPrecondition:
            return
        for change in entry.changes:
            members = self.model.setdefault(change.bitmap, set()) if not change.value else self.model.get(change.bitmap)
            if members is not None:
                rows = set(change.rows.tolist())
                self.model[change.bitmap] = members - rows if change.value else members | rows
        for tag in entry.deleted_tags:
            self.model.setdefault(tag, set())
        for tag in entry.created_tags:
            if not self.model.get(tag, {1}):
                del self.model[tag]
        self._commit(undo)

    @invariant()
    def the_state_is_the_model(self) -> None:
        assert _model_of(self.state) == self.model

    @invariant()
    def replaying_the_log_gives_the_same_state(self) -> None:
        replayed = EditState()
        for summary, rows in self.log:
            replayed.apply(decode_entry(summary, rows))
        assert _model_of(replayed) == self.model
        assert replayed.revision == self.state.revision == len(self.log)
        assert replayed.summaries == self.state.summaries
        assert replayed.last_revision.tolist() == self.state.last_revision.tolist()


def _model_of(state: EditState) -> Model:
    names = [DISCARDS, *state.tags]
    return {name: set(np.flatnonzero(state.mask(name, ROW_COUNT)).tolist()) for name in names}


EditLog.TestCase.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
TestEditLog = EditLog.TestCase


def _made(state: EditState, operation: EditOperation, rows: set[int], tag: str = "") -> Entry:
    entry = state.plan(_order(operation, rows, tag, edit_id=f"e{state.revision}"))
    state.apply(entry)
    return entry


def _undone(state: EditState, entry: Entry) -> Entry:
    undo = state.plan_undo(_order(EditOperation.UNDO, set()), entry)
    state.apply(undo)
    return undo


def test_undo_after_undo_goes_further_back_and_redo_comes_again() -> None:
    state = EditState()
    first = _made(state, EditOperation.DISCARD, {1})
    second = _made(state, EditOperation.DISCARD, {2})
    assert state.newest_to_undo() == 2
    undo = _undone(state, second)
    assert state.newest_to_undo() == 1
    redo = _undone(state, undo)
    assert _model_of(state)[DISCARDS] == {1, 2}
    assert state.newest_to_undo() == 2
    _undone(state, redo)
    _undone(state, first)
    assert _model_of(state)[DISCARDS] == set()
    with pytest.raises(FailedPrecondition, match="no edit to take back"):
        state.newest_to_undo()


def test_undoing_what_made_a_tag_takes_the_tag_with_it_unless_others_use_it() -> None:
    state = EditState()
    _undone(state, _made(state, EditOperation.ADD_TAG, {1}, "hard"))
    assert state.tags == {}
    made = _made(state, EditOperation.ADD_TAG, {1}, "hard")
    _made(state, EditOperation.ADD_TAG, {2}, "hard")
    _undone(state, made)
    assert _model_of(state)["hard"] == {2}


def test_the_same_edit_again_changes_nothing_but_is_in_the_log() -> None:
    state = EditState()
    _made(state, EditOperation.DISCARD, {1, 2})
    again = _made(state, EditOperation.DISCARD, {1, 2})
    assert (again.summary.changed_count, again.summary.target_count, state.revision) == (0, 2, 2)


def test_an_experiment_has_a_limited_number_of_tags() -> None:
    state = EditState()
    for number in range(MAX_TAGS):
        state.apply(state.plan(_order(EditOperation.ADD_TAG, {number % ROW_COUNT}, f"tag {number}")))
    with pytest.raises(ResourceExhausted, match="at most 512 tags; delete one before adding another"):
        state.plan(_order(EditOperation.ADD_TAG, {0}, "one too many"))
    # What is there can be given to more samples, and makes room when it goes.
    state.apply(state.plan(_order(EditOperation.ADD_TAG, {5}, "tag 0")))
    state.apply(state.plan(_order(EditOperation.DELETE_TAG, set(), "tag 1")))
    state.apply(state.plan(_order(EditOperation.ADD_TAG, {0}, "one too many")))
    assert len(state.tags) == MAX_TAGS
