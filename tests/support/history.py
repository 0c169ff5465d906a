"""Whether what concurrent clients saw is one order of edits: a checker of linearizability.

In general that is a search through all orders (Wing and Gong, 1993). Here each edit comes with a revision, which claims
its place in the order, and each read with the revision it was made at. So the claimed order is a witness, and it is
enough to check that it is one: that it agrees with real time, that every edit is in it once and nothing else, and that
every read shows what the model has after just these edits.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass, field

from weightslab_proto.weightslab.v1 import Edit, EditOperation

from tests.support.model import Sample, SampleModel, Wish


@dataclass(slots=True)
class EditCall:
    """An edit that a client sent, with retries under one id. Times are of one monotonic clock.

    `ended` and `revision` stay None while no acknowledgement came: then it may be in the log or not.
    """

    edit_id: str
    wish: Wish
    began: float
    ended: float | None = None
    revision: int | None = None
    changed_count: int | None = None


@dataclass(slots=True)
class Read:
    """What a client saw at `revision`: the members of a tag, or the discarded samples when `tag` is None."""

    began: float
    ended: float
    revision: int
    tag: str | None
    samples: frozenset[Sample]


@dataclass(slots=True)
class History:
    """Everything that the clients of one experiment did since revision `first`, when the model stood at `start`."""

    first: int
    edits: list[EditCall] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)


def check(history: History, log: Sequence[Edit], model: SampleModel) -> None:
    """Raise AssertionError that says what no single order explains.

    `log`: the edits after revision `first`, as the ledger lists them. `model`: the state at `first`; it is moved on.
    """
    assert model.revision == history.first
    calls = {call.edit_id: call for call in history.edits}
    assert len(calls) == len(history.edits), "an edit id was used twice by the clients"
    _check_log(history, log, calls)
    _check_real_time(history, {edit.edit_id: edit.revision for edit in log})
    _check_states(history, log, calls, model)


def _check_log(history: History, log: Sequence[Edit], calls: dict[str, EditCall]) -> None:
    revisions = [edit.revision for edit in log]
    assert revisions == list(range(history.first + 1, history.first + 1 + len(log))), f"gaps in the log: {revisions}"
    logged = {edit.edit_id: edit for edit in log}
    assert len(logged) == len(log), "an edit is in the log twice"
    assert logged.keys() <= calls.keys(), f"edits that nobody sent: {sorted(logged.keys() - calls.keys())}"
    for call in history.edits:
        if call.revision is None:
            continue
        assert call.edit_id in logged, f"an acknowledged edit is lost: {call}"
        assert logged[call.edit_id].revision == call.revision, f"acknowledged as another revision: {call}"


def _check_real_time(history: History, revisions: dict[str, int]) -> None:
    """What was answered before something began comes before it in the order."""
    acknowledged = sorted(
        (call.ended, call.revision) for call in history.edits if call.ended is not None and call.revision is not None
    )
    seen = acknowledged + sorted((read.ended, read.revision) for read in history.reads)
    seen.sort()
    ends = [end for end, _ in seen]
    newest: list[int] = []
    for _, revision in seen:
        newest.append(max(revision, newest[-1] if newest else 0))

    def newest_before(moment: float) -> int:
        at = bisect.bisect_left(ends, moment)
        return newest[at - 1] if at else history.first

    for call in history.edits:
        if call.edit_id in revisions:
            made, known = revisions[call.edit_id], newest_before(call.began)
            assert made > known, f"edit {made} began after {known} had been seen: {call}"
    for read in history.reads:
        known = newest_before(read.began)
        assert read.revision >= known, f"a read at {read.revision} began after {known} had been seen: {read}"


def _check_states(history: History, log: Sequence[Edit], calls: dict[str, EditCall], model: SampleModel) -> None:
    reads: dict[int, list[Read]] = {}
    for read in history.reads:
        reads.setdefault(read.revision, []).append(read)
    _check_reads(reads.pop(history.first, []), model)
    for edit in log:
        call = calls[edit.edit_id]
        wish = call.wish
        assert (edit.operation, edit.tag) == (wish.operation, wish.tag) or edit.operation is EditOperation.UNDO, edit
        assert model.possible(wish), f"edit {edit.revision} could not be made then: {wish}"
        changed = model.apply(wish)
        assert edit.changed_count == changed, (
            f"edit {edit.revision}: {edit.changed_count} changed, not {changed}: {wish}"
        )
        assert call.changed_count in (None, changed), f"acknowledged with another count: {call}"
        _check_reads(reads.pop(edit.revision, []), model)
    assert not reads, f"reads at revisions that the log does not have: {sorted(reads)}"


def _check_reads(reads: list[Read], model: SampleModel) -> None:
    for read in reads:
        expected = model.discarded if read.tag is None else model.with_tag(read.tag)
        assert read.samples == expected, (
            f"at revision {read.revision} {'discards' if read.tag is None else repr(read.tag)} differ: "
            f"too many {sorted(read.samples - expected)[:5]}, missing {sorted(expected - read.samples)[:5]}"
        )
