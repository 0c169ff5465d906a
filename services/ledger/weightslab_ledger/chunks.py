"""Chunks: values of samples as compact columns, ordered by row, so that those of some samples are found quickly.

The body of a chunk is its columns one after the other, each begun at a multiple of 8 bytes. Rows are kept as the
difference to the row before, but every `BLOCK`th as it is: a row is found among these, and one block is then added up.
The last block is filled up with its last row. Differences, steps and epochs take as many bytes each as the largest of
the chunk needs; values are float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weightslab_ledger.arrays import stable_order
from weightslab_ledger.blobs import Rows

BLOCK = 256
_ALIGN_BYTES = 8

Buffer = bytes | memoryview


@dataclass(frozen=True, slots=True)
class Entries:
    """Values of some signals, one entry each in the order they came: `rows` uint32, `steps` int64, `epochs` uint32.

    `values`: float32, one array per signal.
    """

    rows: Rows
    steps: NDArray[np.int64]
    epochs: NDArray[np.uint32]
    values: tuple[NDArray[np.float32], ...]

    def of(self, signal: int) -> Seen:
        """The values of the signal of this number."""
        return Seen(self.rows, self.steps, self.epochs, self.values[signal])


@dataclass(frozen=True, slots=True)
class Seen:
    """Values of one signal, one entry each: `rows` uint32, `steps` int64, `epochs` uint32, `values` float32."""

    rows: Rows
    steps: NDArray[np.int64]
    epochs: NDArray[np.uint32]
    values: NDArray[np.float32]

    def chosen(self, which: Any) -> Seen:
        """Some of the entries, by mask or index."""
        return Seen(self.rows[which], self.steps[which], self.epochs[which], self.values[which])


@dataclass(frozen=True, slots=True)
class Selection:
    """Some samples: `mask`, a bool per row up to some row, and the same as increasing `rows`."""

    mask: NDArray[np.bool_]
    rows: Rows

    def of(self, rows: Rows) -> NDArray[np.bool_]:
        """Which of `rows` (any order) are among them."""
        known = rows < len(self.mask)
        return self.mask[rows] if known.all() else known & self.mask[np.where(known, rows, 0)]


def selection(mask: NDArray[np.bool_]) -> Selection:
    return Selection(mask, np.flatnonzero(mask).astype(np.uint32))


def selection_of(rows: Rows) -> Selection:
    """Of rows in any order, of which there is one at least."""
    mask = np.zeros(int(rows.max()) + 1, dtype=bool)
    mask[rows] = True
    return selection(mask)


def joined(parts: list[Entries]) -> Entries:
    """All entries of `parts`, of which there is one at least."""
    if len(parts) == 1:
        return parts[0]
    return Entries(
        np.concatenate([part.rows for part in parts]),
        np.concatenate([part.steps for part in parts]),
        np.concatenate([part.epochs for part in parts]),
        tuple(np.concatenate(columns) for columns in zip(*(part.values for part in parts), strict=True)),
    )


def joined_seen(parts: list[Seen]) -> Seen:
    """All entries of `parts`, of which there is one at least."""
    return joined([Entries(part.rows, part.steps, part.epochs, (part.values,)) for part in parts]).of(0)


def by_row(entries: Entries) -> Entries:
    """The entries ordered by row, and those of a row in the order they came."""
    order = stable_order(entries.rows)
    values = tuple(column[order] for column in entries.values)
    return Entries(entries.rows[order], entries.steps[order], entries.epochs[order], values)


def pack_chunk(ordered: Entries) -> tuple[dict[str, Any], bytes]:
    """What a header must say of the entries, which are ordered by row, and the body."""
    rows = ordered.rows
    differences = np.zeros(-(-len(rows) // BLOCK) * BLOCK, dtype=np.uint32)
    differences[1 : len(rows)] = np.diff(rows)
    differences[::BLOCK] = 0
    first_step, first_epoch = int(ordered.steps.min()), int(ordered.epochs.min())
    narrow = [
        _narrow(differences),
        # Steps may lie further apart than an int64 can say.
        _narrow(ordered.steps.view(np.uint64) - np.uint64(first_step % 2**64)),
        _narrow(ordered.epochs - np.uint32(first_epoch)),
    ]
    columns = [rows[::BLOCK].astype("<u4"), *narrow, *(values.astype("<f4") for values in ordered.values)]
    header = {
        "count": len(rows),
        "first": first_step,
        "last": int(ordered.steps.max()),
        "epoch": first_epoch,
        "types": [column.dtype.str if len(column) else "" for column in narrow],
    }
    return header, b"".join(_padded(column.tobytes()) for column in columns)


def _narrow(numbers: NDArray[Any]) -> NDArray[Any]:
    """Numbers of at least 0 as the narrowest unsigned integers that hold them all; none when all are 0."""
    largest = int(numbers.max())
    if not largest:
        return np.empty(0, dtype="u1")
    return numbers.astype(np.min_scalar_type(largest).newbyteorder("<"))


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % _ALIGN_BYTES)


class Chunk:
    """The entries that `pack_chunk` made a header and a body of; they are read from the body when they are asked for.

    Raises ValueError, KeyError when header and body do not fit together.
    """

    def __init__(self, header: dict[str, Any], body: Buffer) -> None:
        self._count: int = header["count"]
        self._first_step: int = header["first"]
        self._first_epoch: int = header["epoch"]
        self._body = body
        self._at = 0
        self._fences = self._next("<u4", -(-self._count // BLOCK))
        differences, steps, epochs = header["types"]
        self._differences = self._narrowed(differences, len(self._fences) * BLOCK).reshape(-1, BLOCK)
        self._steps = self._narrowed(steps, self._count)
        self._epochs = self._narrowed(epochs, self._count)

    def _next(self, kind: str, count: int) -> NDArray[Any]:
        found = np.frombuffer(self._body, dtype=kind, count=count, offset=self._at)
        self._at += found.nbytes + -found.nbytes % _ALIGN_BYTES
        return found

    def _narrowed(self, kind: str, count: int) -> NDArray[Any]:
        return self._next(kind, count) if kind else np.zeros(count, dtype="u1")

    def _values(self, signal: int) -> NDArray[np.float32]:
        each = self._count * 4
        at = self._at + signal * (each + -each % _ALIGN_BYTES)
        return np.frombuffer(self._body, dtype="<f4", count=self._count, offset=at)

    def _summed(self, blocks: Any) -> Rows:
        """The rows of some blocks, a line each."""
        rows = np.cumsum(self._differences[blocks], axis=1, dtype=np.uint32)
        rows += self._fences[blocks, None]
        return rows

    def _begins(self, rows: Rows) -> NDArray[np.int64]:
        """Where the entries of each of `rows` begin, or would."""
        blocks = np.maximum(np.searchsorted(self._fences, rows, side="left") - 1, 0)
        smaller = (self._summed(blocks) < rows[:, None]).sum(axis=1)
        return np.asarray(np.minimum(blocks * BLOCK + smaller, self._count))

    def _places(self, rows: Rows) -> NDArray[np.int64]:
        """Places of all entries of `rows`, which are increasing."""
        begins = self._begins(rows)
        sizes = self._begins(rows + np.uint32(1)) - begins
        within = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return np.asarray(np.repeat(begins, sizes) + within)

    def entries(self, signal: int, wanted: Selection | None = None) -> Seen:
        """The values of the signal of this number, of all samples or those that are wanted; ordered by row."""
        if wanted is not None and len(wanted.rows) * BLOCK < self._count:
            # What this costs does not grow with the chunk.
            places = self._places(wanted.rows)
            blocks, at = np.unique(places // BLOCK, return_inverse=True)
            rows = self._summed(blocks)[at, places % BLOCK]
            return self._at_places(rows, signal, places)
        rows = self._summed(slice(None)).reshape(-1)[: self._count]
        if wanted is None:
            return self._at_places(rows, signal, slice(None))
        places = np.flatnonzero(wanted.of(rows))
        return self._at_places(rows[places], signal, places)

    def _at_places(self, rows: Rows, signal: int, places: Any) -> Seen:
        steps = self._steps[places].astype(np.int64) + self._first_step
        epochs = self._epochs[places].astype(np.uint32) + np.uint32(self._first_epoch)
        return Seen(rows, steps, epochs, self._values(signal)[places])

    def step_before(self, signal: int, step: int) -> Seen | None:
        """The entries of the newest step at or before `step` that has a value, NaN being none; None without any."""
        usable = (self._steps <= step - self._first_step) & ~np.isnan(self._values(signal))
        if not usable.any():
            return None
        places = np.flatnonzero(usable)
        places = places[self._steps[places] == self._steps[places].max()]
        rows = self._summed(places // BLOCK)[np.arange(len(places)), places % BLOCK]
        return self._at_places(rows, signal, places)
