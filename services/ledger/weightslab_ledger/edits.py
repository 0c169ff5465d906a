"""Edits: what changes when tags or discards are edited, and the state that the log adds up to.

Pure memory. An edit is first planned, which finds the bits that really change; the plan is written to the log; then it
is applied. Replaying the log from the start gives the same state.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from weightslab_common.errors import FailedPrecondition, InvalidArgument, NotFound, ResourceExhausted
from weightslab_proto.weightslab.v1 import EditOperation

from weightslab_ledger.arrays import grown, sized
from weightslab_ledger.blobs import Rows

MAX_TAGS = 512
# The name of the bitmap of discards, which no tag can have: a tag has at least one character.
DISCARDS = ""

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Change:
    """Bits of one bitmap that an edit changed to `value`. `rows`: uint32, strictly increasing."""

    bitmap: str
    value: bool
    rows: Rows


@dataclass(frozen=True, slots=True)
class Summary:
    """An edit without its rows. `effective_step` is None until a trainer has said from which step it holds."""

    revision: int
    edit_id: str
    author: str
    operation: EditOperation
    tag: str
    changed_count: int
    target_count: int
    created_unix_ms: int
    undone_revision: int = 0
    effective_step: int | None = None
    effective_branch: str = ""
    # For RENAME_TAG: what the tag is called from now on.
    new_tag: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """An edit as the log keeps it: what it changed exactly, so that undo and replay are exact."""

    summary: Summary
    changes: tuple[Change, ...] = ()
    created_tags: tuple[str, ...] = ()
    deleted_tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Order:
    """What somebody wants to change. `rows`: uint32, strictly increasing."""

    edit_id: str
    author: str
    operation: EditOperation
    tag: str
    rows: Rows
    created_unix_ms: int
    new_tag: str = ""


@dataclass(slots=True)
class EditState:
    """Tags, discards and the list of edits at one revision. Masks are replaced, never written into."""

    revision: int = 0
    discarded: Mask = field(default_factory=lambda: np.zeros(0, dtype=bool))
    tags: dict[str, Mask] = field(default_factory=dict)
    summaries: list[Summary] = field(default_factory=list)
    # uint32 per row: the newest revision that changed it, 0 for none.
    last_revision: NDArray[np.uint32] = field(default_factory=lambda: np.zeros(0, dtype=np.uint32))
    _by_id: dict[str, int] = field(default_factory=dict)
    # Revision that was undone: the revision that undid it, while that one stands.
    _undone_by: dict[int, int] = field(default_factory=dict)

    def mask(self, bitmap: str, row_count: int) -> Mask:
        """One bool per row of a tag or of DISCARDS; all false for a tag that does not exist."""
        found = self.discarded if bitmap == DISCARDS else self.tags.get(bitmap)
        return np.zeros(row_count, dtype=bool) if found is None else sized(found, row_count, False)

    def summary(self, revision: int) -> Summary:
        """Raises NotFound."""
        if not 1 <= revision <= len(self.summaries):
            raise NotFound(f"there is no edit with revision {revision}; the newest is {self.revision}")
        return self.summaries[revision - 1]

    def known(self, edit_id: str) -> Summary | None:
        """The edit that was made under this id, if any."""
        revision = self._by_id.get(edit_id)
        return self.summaries[revision - 1] if revision else None

    def plan(self, order: Order) -> Entry:
        """Find what `order` changes. Raises InvalidArgument, NotFound, ResourceExhausted; changes nothing."""
        operation, tag, rows = order.operation, order.tag, order.rows
        created: tuple[str, ...] = ()
        deleted: tuple[str, ...] = ()
        match operation:
            case EditOperation.ADD_TAG:
                created = () if tag in self.tags else (tag,)
                if created and len(self.tags) >= MAX_TAGS:
                    raise ResourceExhausted(
                        f"an experiment has at most {MAX_TAGS} tags; delete one before adding another"
                    )
                wanted = [Change(tag, True, rows)]
            case EditOperation.REMOVE_TAG | EditOperation.DELETE_TAG:
                if tag not in self.tags:
                    raise NotFound(f"there is no tag {tag!r}")
                wanted = [Change(tag, False, rows)]
                if operation is EditOperation.DELETE_TAG:
                    wanted = [Change(tag, False, np.flatnonzero(self.tags[tag]).astype(np.uint32))]
                    deleted = (tag,)
            case EditOperation.RENAME_TAG:
                wanted = self._renamed(tag, order.new_tag)
                created, deleted = (order.new_tag,), (tag,)
            case EditOperation.CLEAR_TAGS:
                wanted = [Change(name, False, rows) for name in sorted(self.tags)]
            case EditOperation.DISCARD | EditOperation.RESTORE:
                wanted = [Change(DISCARDS, operation is EditOperation.DISCARD, rows)]
            case _:
                raise InvalidArgument("the edit names no operation that can be asked for")
        return self._entry(order, wanted, created=created, deleted=deleted, target_count=len(order.rows))

    def _renamed(self, tag: str, new_tag: str) -> list[Change]:
        if tag not in self.tags:
            raise NotFound(f"there is no tag {tag!r}")
        if new_tag in self.tags:
            raise InvalidArgument(f"there is a tag {new_tag!r} already: {tag!r} cannot be renamed to it")
        members = np.flatnonzero(self.tags[tag]).astype(np.uint32)
        return [Change(tag, False, members), Change(new_tag, True, members)]

    def plan_undo(self, order: Order, undone: Entry) -> Entry:
        """Find what gives the rows of `undone` the bits they had before it. Raises FailedPrecondition."""
        revision = undone.summary.revision
        if revision in self._undone_by:
            raise FailedPrecondition(f"edit {revision} is taken back already, by edit {self._undone_by[revision]}")
        wanted = [Change(change.bitmap, not change.value, change.rows) for change in undone.changes]
        back = {change.bitmap for change in wanted if change.value} - {DISCARDS}
        created = tuple(tag for tag in sorted(back | set(undone.deleted_tags)) if tag not in self.tags)
        entry = self._entry(
            replace(order, operation=EditOperation.UNDO, tag=undone.summary.tag, new_tag=undone.summary.new_tag),
            wanted,
            created=created,
            deleted=(),
            target_count=undone.summary.target_count,
            undone_revision=revision,
        )
        cleared = {change.bitmap: len(change.rows) for change in entry.changes if not change.value}
        # A tag that the edit made goes with it, unless others have used it since.
        deleted = tuple(
            tag for tag in undone.created_tags if tag in self.tags and int(self.tags[tag].sum()) == cleared.get(tag, 0)
        )
        return replace(entry, deleted_tags=deleted)

    def newest_to_undo(self) -> int:
        """The revision of the newest edit that is no undo and is not taken back. Raises FailedPrecondition."""
        for summary in reversed(self.summaries):
            if summary.operation is not EditOperation.UNDO and summary.revision not in self._undone_by:
                return summary.revision
        raise FailedPrecondition("there is no edit to take back")

    def _entry(
        self,
        order: Order,
        wanted: list[Change],
        *,
        created: tuple[str, ...],
        deleted: tuple[str, ...],
        target_count: int,
        undone_revision: int = 0,
    ) -> Entry:
        changes = tuple(change for change in map(self._really, wanted) if len(change.rows))
        changed_count = _count_rows([change.rows for change in changes])
        if order.operation in (EditOperation.DELETE_TAG, EditOperation.RENAME_TAG):
            target_count = changed_count
        summary = Summary(
            revision=self.revision + 1,
            edit_id=order.edit_id,
            author=order.author,
            operation=order.operation,
            tag=order.tag,
            changed_count=changed_count,
            target_count=target_count,
            created_unix_ms=order.created_unix_ms,
            undone_revision=undone_revision,
            new_tag=order.new_tag,
        )
        return Entry(summary, changes, created, deleted)

    def _really(self, change: Change) -> Change:
        """Only the rows whose bit differs from the value wanted."""
        if not len(change.rows):
            return change
        present = self.mask(change.bitmap, int(change.rows[-1]) + 1)[change.rows]
        return replace(change, rows=change.rows[present != change.value])

    def apply(self, entry: Entry) -> None:
        """Take in an entry of the log; they come in the order of their revisions without a gap."""
        summary = entry.summary
        assert summary.revision == self.revision + 1, f"edit {summary.revision} after {self.revision}"
        for tag in entry.created_tags:
            self.tags[tag] = np.zeros(0, dtype=bool)
        for change in entry.changes:
            self._write(change, summary.revision)
        for tag in entry.deleted_tags:
            del self.tags[tag]
        self.revision = summary.revision
        self.summaries.append(summary)
        self._by_id[summary.edit_id] = summary.revision
        if summary.operation is EditOperation.UNDO:
            self._take_back(summary.undone_revision, summary.revision)

    def _take_back(self, revision: int, by: int) -> None:
        """Note that an edit is undone; below an undo the edit it took back stands again, and so on down."""
        stands = False
        while True:
            if stands:
                self._undone_by.pop(revision, None)
            else:
                self._undone_by[revision] = by
            summary = self.summaries[revision - 1]
            if summary.operation is not EditOperation.UNDO:
                return
            by, revision, stands = revision, summary.undone_revision, not stands

    def _write(self, change: Change, revision: int) -> None:
        length = int(change.rows[-1]) + 1
        old = self.discarded if change.bitmap == DISCARDS else self.tags[change.bitmap]
        mask = grown(old, length, False).copy()
        mask[change.rows] = change.value
        if change.bitmap == DISCARDS:
            self.discarded = mask
        else:
            self.tags[change.bitmap] = mask
        self.last_revision = grown(self.last_revision, length, 0)
        self.last_revision[change.rows] = revision

    def set_effective(self, revision: int, *, step: int, branch: str) -> Summary:
        """Note from which step an edit holds; the first word counts."""
        summary = self.summaries[revision - 1]
        if summary.effective_step is None:
            summary = replace(summary, effective_step=step, effective_branch=branch)
            self.summaries[revision - 1] = summary
        return summary


def _count_rows(sets: list[Rows]) -> int:
    """How many rows are in any of the sets."""
    if len(sets) < 2:
        return sum(map(len, sets))
    # A hundred times quicker than to sort them together.
    touched = np.zeros(max(int(rows[-1]) for rows in sets) + 1, dtype=bool)
    for rows in sets:
        touched[rows] = True
    return int(touched.sum())
