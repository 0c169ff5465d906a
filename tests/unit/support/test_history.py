"""The checker of histories: it lets through what one order explains, and names what none does."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from weightslab_proto.weightslab.v1 import Edit, EditOperation

from tests.support.history import EditCall, History, Read, check
from tests.support.model import SampleModel, Wish

A, B = ("train", "a"), ("train", "b")
TAG_A = Wish(EditOperation.ADD_TAG, frozenset({A}), "t")
TAG_B = Wish(EditOperation.ADD_TAG, frozenset({B}), "t")
UNTAG_A = Wish(EditOperation.REMOVE_TAG, frozenset({A}), "t")


def _history() -> tuple[History, list[Edit]]:
    """Two edits that overlap, a third after them, one never answered; and reads between."""
    history = History(
        first=0,
        edits=[
            EditCall("1", TAG_A, 0.0, 2.0, revision=2, changed_count=1),
            EditCall("2", TAG_B, 1.0, 3.0, revision=1, changed_count=1),
            EditCall("3", UNTAG_A, 4.0, 5.0, revision=3, changed_count=1),
            EditCall("4", TAG_A, 5.5),
        ],
        reads=[
            Read(1.0, 2.5, 1, "t", frozenset({B})),
            Read(3.5, 3.9, 2, "t", frozenset({A, B})),
            Read(6.0, 6.5, 3, "t", frozenset({B})),
        ],
    )
    log = [_edit(1, "2"), _edit(2, "1"), _edit(3, "3", EditOperation.REMOVE_TAG)]
    return history, log


def _edit(revision: int, edit_id: str, operation: EditOperation = EditOperation.ADD_TAG) -> Edit:
    return Edit(revision=revision, edit_id=edit_id, operation=operation, tag="t", changed_count=1)


def test_an_order_that_explains_everything_is_let_through() -> None:
    history, log = _history()
    model = SampleModel()
    check(history, log, model)
    assert (model.revision, model.tags) == (3, {"t": {B}})


def test_an_edit_that_was_never_answered_may_have_been_made() -> None:
    history, log = _history()
    check(history, [*log, _edit(4, "4")], SampleModel())


Change = Callable[[History, list[Edit]], object]
WRONG: dict[str, Change] = {
    "an acknowledged edit is lost": lambda history, log: log.pop(),
    "in the log twice": lambda history, log: log.append(_edit(4, "3", EditOperation.REMOVE_TAG)),
    "nobody sent": lambda history, log: log.append(_edit(4, "9")),
    "gaps in the log": lambda history, log: log.append(_edit(5, "4")),
    "acknowledged as another revision": lambda history, log: setattr(history.edits[0], "revision", 1),
    "began after": lambda history, log: setattr(history.edits[1], "began", 2.1),
    "a read at 1 began after": lambda history, log: setattr(history.reads[0], "began", 3.2),
    "edit 3 began after 3": lambda history, log: history.reads.append(Read(3.1, 3.9, 3, "t", frozenset({B}))),
    "does not have": lambda history, log: setattr(history.reads[2], "revision", 7),
    "differ: too many": lambda history, log: setattr(history.reads[2], "samples", frozenset({A, B})),
    "missing": lambda history, log: setattr(history.reads[2], "samples", frozenset()),
    "changed, not": lambda history, log: setattr(log[0], "changed_count", 2),
    "another count": lambda history, log: setattr(history.edits[0], "changed_count", 2),
}


@pytest.mark.parametrize("words", WRONG)
def test_what_no_order_explains_is_named(words: str) -> None:
    history, log = _history()
    WRONG[words](history, log)
    with pytest.raises(AssertionError, match=words):
        check(history, log, SampleModel())


def test_the_model_takes_back_an_edit_and_its_taking_back() -> None:
    model = SampleModel()
    model.apply(TAG_A)
    model.apply(Wish(EditOperation.RENAME_TAG, tag="t", new_tag="u"))
    assert model.apply(Wish(EditOperation.UNDO, undone=2)) == 1
    assert model.tags == {"t": {A}}
    assert not model.possible(Wish(EditOperation.UNDO, undone=2))
    model.apply(Wish(EditOperation.UNDO, undone=3))
    assert model.tags == {"u": {A}}
    assert model.possible(Wish(EditOperation.UNDO, undone=2))
    assert model.newest_to_undo() == 2
