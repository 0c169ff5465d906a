"""The catalog: which samples there are, and the row of each.

Rows are given in the order in which samples are first registered and are never reused. A sample is known by
(split, uid): a later registration of the split finds its old row again, whatever its position.

The newest registration of a split says which samples are present. One that was replaced and comes again is read again,
since another may have changed metadata meanwhile; the same message, read again from the stream, changes nothing.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from weightslab_common.errors import InvalidArgument, NotFound

from weightslab_ledger.arrays import grown
from weightslab_ledger.blobs import Rows
from weightslab_ledger.metadata import NumberColumn, TextColumn, TextValues, as_text
from weightslab_ledger.natural import KnownRanks

MAX_SPLITS = 255


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a registration with the rows it was given, as the store keeps it.

    `rows`: one per sample of the part. `new_uids`: samples without a row so far; they get the rows from
    `first_new_row` on. `metadata`: per column float64 numbers or texts, one per sample of the part.
    """

    registration_id: str
    split: str
    sample_count: int
    first_position: int
    class_names: list[str]
    media_kind: str
    slice_count: int
    complete: bool
    first_new_row: int
    new_uids: list[str]
    rows: Rows
    metadata: dict[str, NDArray[np.float64] | list[str]]
    # Absent in what was stored before there were layers.
    layers: list[str] = field(default_factory=list)
    # Which message it came in; absent in what was stored before registrations could come again.
    run_id: str = ""
    sequence: int = 0


class Registered(Protocol):
    """What a part says before it has rows (a `bus.v1.SplitRegistration`)."""

    registration_id: str
    split: str
    sample_count: int
    first_position: int
    uids: list[str]
    class_names: list[str]
    media_kind: str
    slice_count: int
    complete: bool
    layers: list[str]
    run_id: str
    sequence: int


class OutOfOrder(Exception):
    """What comes before this message has not arrived yet."""


@dataclass(frozen=True, slots=True)
class Change:
    """How a registration of a split differs from the one before it. `returned`: present before that one, not in it."""

    new: int
    returned: int
    gone: int

    def __str__(self) -> str:
        return f"{self.new:,} samples are new, {self.returned:,} are back, {self.gone:,} are gone"


@dataclass(slots=True)
class Registration:
    """A registration as far as it has arrived; one that comes again keeps its rows meanwhile."""

    split: str
    sample_count: int
    parts: list[Rows] = field(default_factory=list)
    position: int = 0
    complete: bool = False
    rows: Rows = field(default_factory=lambda: np.empty(0, dtype=np.uint32))


@dataclass(slots=True)
class Split:
    name: str
    index: int
    class_names: list[str] = field(default_factory=list)
    media_kind: str = ""
    slice_count: int = 0
    layers: list[str] = field(default_factory=list)
    registration_id: str = ""
    # None until a registration has replaced another.
    change: Change | None = None
    # Rows of the split from here on were made after its newest registration was complete.
    first_new_row: int = 0
    _row_of: dict[str, int] = field(default_factory=dict)
    # Uids that are not in it yet, each list with the row of its first: after a restart a page is sooner there.
    _unindexed: deque[tuple[int, list[str]]] = field(default_factory=deque)
    # Queries look for uids from other threads.
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def add(self, uids: list[str], *, first_row: int) -> None:
        """Give rows from `first_row` on to new uids."""
        self._unindexed.append((first_row, uids))

    def index_some(self) -> bool:
        """Index what came in one part, so that nobody waits for all of it later; false when everything is."""
        with self._guard:
            if not self._unindexed:
                return False
            first, uids = self._unindexed.popleft()
            self._row_of.update(zip(uids, range(first, first + len(uids)), strict=True))
            return True

    @property
    def row_of(self) -> dict[str, int]:
        """The row of each uid, of samples that are gone as well. Not to be changed."""
        while self.index_some():
            pass
        return self._row_of


class Catalog:
    """All samples of an experiment. Pure memory; `plan` decides, `apply` does."""

    def __init__(self) -> None:
        self.uids: list[str] = []
        self._uid_ranks = KnownRanks()
        self.splits: list[Split] = []
        self.metadata: dict[str, NumberColumn | TextColumn] = {}
        self.registrations: dict[str, Registration] = {}
        # Counts changes, for caches.
        self.version = 0
        self.part_count = 0
        self._by_name: dict[str, Split] = {}
        # (run id, sequence) of the messages that were taken in.
        self._taken: set[tuple[str, int]] = set()
        self._split_index = np.empty(0, dtype=np.uint8)
        self._present = np.empty(0, dtype=bool)

    @property
    def row_count(self) -> int:
        return len(self.uids)

    @property
    def split_index(self) -> NDArray[np.uint8]:
        """uint8 per row, into `splits`."""
        return self._split_index[: self.row_count]

    @property
    def present(self) -> NDArray[np.bool_]:
        """bool per row: whether the newest registration of its split still has the sample."""
        return self._present[: self.row_count]

    def plan(self, part: Registered, metadata: dict[str, NDArray[np.float64] | list[str]]) -> Part | None:
        """Give rows to a part; None when it is known already.

        Raises OutOfOrder when an earlier part is missing, InvalidArgument when it contradicts itself.
        """
        known = self.registrations.get(part.registration_id)
        position = 0 if known is None or self._begins_again(part, known) else known.position
        if self._is_newest(part.registration_id) or (part.run_id, part.sequence) in self._taken:
            return None
        if part.first_position < position:
            return None
        if part.first_position > position:
            raise OutOfOrder(f"part at {part.first_position} of {part.registration_id}, {position} have arrived")
        _check(part, known)
        if part.split not in self._by_name and len(self.splits) >= MAX_SPLITS:
            raise InvalidArgument(f"split {part.split!r} is one too many: an experiment has at most {MAX_SPLITS}")
        row_of = self._by_name[part.split].row_of if part.split in self._by_name else {}
        first_new_row = self.row_count
        new_uids = [uid for uid in part.uids if uid not in row_of]
        new_rows = {uid: first_new_row + i for i, uid in enumerate(new_uids)}
        rows = np.fromiter(
            (new_rows[uid] if uid in new_rows else row_of[uid] for uid in part.uids), np.uint32, len(part.uids)
        )
        if len(np.unique(rows)) != len(rows):
            raise InvalidArgument(f"registration of split {part.split!r}: a uid is there twice")
        return Part(
            registration_id=part.registration_id,
            split=part.split,
            sample_count=part.sample_count,
            first_position=part.first_position,
            class_names=list(part.class_names),
            media_kind=part.media_kind,
            slice_count=part.slice_count,
            complete=part.complete,
            first_new_row=first_new_row,
            new_uids=new_uids,
            rows=rows,
            metadata=metadata,
            layers=list(part.layers),
            run_id=part.run_id,
            sequence=part.sequence,
        )

    def _is_newest(self, registration_id: str) -> bool:
        """Whether a registration is the one that says which samples of its split are present."""
        known = self.registrations.get(registration_id)
        return known is not None and self._by_name[known.split].registration_id == registration_id

    def _begins_again(self, part: Registered | Part, known: Registration) -> bool:
        """Whether a part is the first of a registration that had arrived, and was replaced by another since."""
        arrived = known.complete and known.position == known.sample_count
        return arrived and part.first_position == 0 and not self._is_newest(part.registration_id)

    def apply(self, part: Part) -> None:
        """Take in a part that `plan` made, now or before a restart."""
        split = self._split(part.split)
        self._add_rows(split, part.new_uids)
        registration = self.registrations.setdefault(part.registration_id, Registration(part.split, part.sample_count))
        if self._begins_again(part, registration):
            registration.position = 0
        registration.parts.append(part.rows)
        registration.position += len(part.rows)
        if part.first_position == 0:
            split.class_names = part.class_names or split.class_names
            split.media_kind = part.media_kind or split.media_kind
            split.slice_count = part.slice_count or split.slice_count
            split.layers = part.layers or split.layers
        for name, values in part.metadata.items():
            self._put_metadata(name, part.rows, values)
        if part.complete:
            self._complete(split, part.registration_id, registration)
        if part.run_id:
            self._taken.add((part.run_id, part.sequence))
        self.part_count += 1
        self.version += 1

    def _split(self, name: str) -> Split:
        if name not in self._by_name:
            self._by_name[name] = Split(name, len(self.splits))
            self.splits.append(self._by_name[name])
        return self._by_name[name]

    def _add_rows(self, split: Split, uids: list[str]) -> None:
        first = self.row_count
        end = first + len(uids)
        self._split_index = grown(self._split_index, end, 0)
        self._present = grown(self._present, end, False)
        self._split_index[first:end] = split.index
        self._present[first:end] = True
        split.add(uids, first_row=first)
        self.uids.extend(uids)

    def _complete(self, split: Split, registration_id: str, registration: Registration) -> None:
        registration.rows = np.concatenate(registration.parts) if registration.parts else registration.rows
        registration.parts = []
        registration.complete = True
        of_split = self.split_index == split.index
        # Rows of this registration that had none are present already, before it is complete.
        replaced = self.registrations.get(split.registration_id)
        before = np.zeros(self.row_count, dtype=bool)
        if replaced is not None:
            before[replaced.rows] = True
        split.registration_id = registration_id
        self.present[of_split] = False
        self._present[registration.rows] = True
        if replaced is not None:
            came = self.present & of_split & ~before
            new = int(came[split.first_new_row :].sum())
            gone = int((before & ~self.present).sum())
            split.change = Change(new, int(came.sum()) - new, gone)
        split.first_new_row = self.row_count

    def _put_metadata(self, name: str, rows: Rows, values: NDArray[np.float64] | list[str]) -> None:
        column = self.metadata.get(name)
        if isinstance(values, list):
            if column is None or isinstance(column, NumberColumn):
                column = as_text(column, self.row_count) if column else TextColumn()
            column.put(rows, values)
        elif isinstance(column, TextColumn):
            column.put(rows, [f"{number:g}" for number in values.tolist()])
        else:
            column = column or NumberColumn()
            column.put(rows, values)
        self.metadata[name] = column

    def index_some(self) -> bool:
        """Prepare a part of the catalog for being asked for uids; false when nothing is left to do."""
        return any(split.index_some() for split in self.splits)

    def split_named(self, name: str) -> Split:
        """Raises NotFound, naming the splits there are."""
        if name not in self._by_name:
            there = ", ".join(repr(split.name) for split in self.splits) or "none yet"
            raise NotFound(f"there is no split {name!r}; there are: {there}")
        return self._by_name[name]

    def find(self, split: str, uid: str) -> int | None:
        """The row of a sample of the present dataset, or None."""
        row = self._by_name[split].row_of.get(uid) if split in self._by_name else None
        return row if row is not None and self._present[row] else None

    def rows_of(self, registration_id: str) -> Rows:
        """One row per position of a registration. Raises OutOfOrder when it has not arrived completely."""
        registration = self.registrations.get(registration_id)
        if registration is None or not registration.complete:
            raise OutOfOrder(f"registration {registration_id} has not arrived completely")
        return registration.rows

    def texts(self, name: str) -> TextValues | None:
        """The identity columns `split` and `uid`, or a metadata column of texts."""
        if name == "split":
            return TextValues(self.split_index.astype(np.uint32), [split.name for split in self.splits])
        if name == "uid":
            row_count = self.row_count
            rows = np.arange(row_count, dtype=np.uint32)
            return TextValues(rows, self.uids[:row_count], find=self._rows_with_uid, ranks=self._uid_ranks)
        column = self.metadata.get(name)
        return column.values(self.row_count) if isinstance(column, TextColumn) else None

    def _rows_with_uid(self, uid: str) -> list[int]:
        return [split.row_of[uid] for split in self.splits if uid in split.row_of]


def _check(part: Registered, known: Registration | None) -> None:
    """Raise InvalidArgument when a part contradicts itself or its registration."""
    if not part.split or not part.registration_id:
        raise InvalidArgument("a registration needs a split and a registration_id")
    if known and known.split != part.split:
        raise InvalidArgument(f"registration {part.registration_id} is of split {known.split!r}, not {part.split!r}")
    end = part.first_position + len(part.uids)
    if end > part.sample_count or (part.complete and end != part.sample_count):
        raise InvalidArgument(
            f"registration of split {part.split!r}: {end} uids have come where {part.sample_count} were announced"
        )
