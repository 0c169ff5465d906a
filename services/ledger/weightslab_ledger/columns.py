"""Columns of per-sample values: what is known of each sample by one signal in one mode."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from weightslab_proto.weightslab.v1 import Mode

from weightslab_ledger.arrays import grown, sized, stable_order, taken
from weightslab_ledger.blobs import Rows

AUDIT_SUFFIX = ":audit"
# Suffix of a column's name: what it says of the values a sample had.
STATISTICS = {
    "": "newest value",
    ".count": "how many values",
    ".mean": "mean of all values",
    ".min": "smallest value",
    ".max": "largest value",
    ".variance": "population variance of all values",
    ".first_step": "step of the first value",
    ".last_step": "step of the newest value",
    ".trend": "slope of a line through the values in the order they came",
}

_FIELDS: dict[str, tuple[str, float]] = {
    "last": ("f4", np.nan),
    "count": ("u4", 0),
    "mean": ("f8", 0),
    "squares": ("f8", 0),
    "minimum": ("f4", 0),
    "maximum": ("f4", 0),
    # Until a step does not fit, see `_widen`.
    "first_step": ("u4", 0),
    "last_step": ("u4", 0),
    # Sum of each value times its number among the values of its sample.
    "weighted": ("f8", 0),
}
# Kept only of signals that say whether a sample is predicted correctly.
_LEARNING_FIELDS: dict[str, tuple[str, float]] = {
    "forgotten": ("u4", 0),
    # Epochs count from one here; 0 for never.
    "first_learned": ("u4", 0),
    "last_learned": ("u4", 0),
}
LEARNING_SIGNAL = "/correct"


def column_name(signal: str, mode: int) -> str:
    """Audit values never overwrite those of training: they have a column of their own."""
    return signal + AUDIT_SUFFIX if mode == Mode.AUDIT else signal


@dataclass(frozen=True, slots=True)
class _Order:
    """How entries are put in the order of their rows. `starts`: where each of `rows` begins, with `sizes` entries."""

    order: NDArray[np.int64]
    rows: Rows
    starts: NDArray[np.int64]
    sizes: NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """Values of samples, one entry each: `rows` uint32, `steps` int64, `epochs` uint32; in the order they came."""

    rows: Rows
    steps: NDArray[np.int64]
    epochs: NDArray[np.uint32]
    # Rows of the experiment, which arrays must have room for.
    row_count: int

    @functools.cached_property
    def order(self) -> _Order:
        """Found once for all signals."""
        order = stable_order(self.rows)
        ordered = self.rows[order]
        starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
        return _Order(order, ordered[starts], starts, np.diff(starts, append=len(ordered)))

    def chosen(self, which: NDArray[np.bool_]) -> Batch:
        """Some of the entries."""
        return Batch(self.rows[which], self.steps[which], self.epochs[which], self.row_count)


@dataclass(frozen=True, slots=True)
class _Groups:
    """Values ordered by row, in the order they came within a row. `starts`: where each of `rows` begins."""

    rows: Rows
    starts: NDArray[np.int64]
    sizes: NDArray[np.int64]
    values: NDArray[np.float32]
    steps: NDArray[np.int64]
    epochs: NDArray[np.uint32]

    @property
    def ends(self) -> NDArray[np.int64]:
        return self.starts + self.sizes - 1

    def repeated(self, per_row: NDArray[Any]) -> NDArray[Any]:
        """What holds for a row, for each of its values."""
        return per_row if len(self.rows) == len(self.values) else np.repeat(per_row, self.sizes)


def _grouped(batch: Batch, values: NDArray[np.float32]) -> _Groups | None:
    """The values that are no NaN, grouped; None when there are none."""
    known = ~np.isnan(values)
    if not known.all():
        batch, values = batch.chosen(known), values[known]
    if not len(values):
        return None
    found = batch.order
    return _Groups(
        found.rows, found.starts, found.sizes, values[found.order], batch.steps[found.order], batch.epochs[found.order]
    )


@dataclass(slots=True)
class SampleColumn:
    """Running statistics by row, one array per field; `squares` sums the squared differences to the mean."""

    learning: bool = False
    fields: dict[str, NDArray[Any]] = field(default_factory=dict)

    def _kinds(self) -> dict[str, tuple[str, float]]:
        return {**_FIELDS, **_LEARNING_FIELDS} if self.learning else _FIELDS

    def _array(self, name: str, row_count: int) -> NDArray[Any]:
        found, fill = self._written(name)
        return grown(found, row_count, fill)

    def _written(self, name: str) -> tuple[NDArray[Any], float]:
        """One of the arrays as it is, and what stands where it was not written."""
        dtype, fill = self._kinds()[name]
        found = self.fields.get(name)
        return np.empty(0, dtype=dtype) if found is None else found, fill

    def update(self, batch: Batch, values: NDArray[np.float32]) -> None:
        """Take in one float32 per entry of `batch`; a sample may be there more than once, and NaN is no value."""
        groups = _grouped(batch, values)
        if groups is None:
            return
        self.fields = self._widen({name: self._array(name, batch.row_count) for name in self._kinds()}, groups.steps)
        if self.learning:
            self._learn(groups)
        self._merge(groups)

    @staticmethod
    def _widen(fields: dict[str, NDArray[Any]], steps: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """The fields, in which `steps` can be noted: the contract allows any int64, and hardly any run needs it."""
        if steps.min() >= 0 and steps.max() < 1 << 32:
            return fields
        return {**fields, **{name: fields[name].astype(np.int64, copy=False) for name in ("first_step", "last_step")}}

    def _merge(self, groups: _Groups) -> None:
        """Merge groups of values by the pairwise update of Chan, Golub and LeVeque (1979)."""
        at, rows, starts, sizes = self.fields, groups.rows, groups.starts, groups.sizes
        exact = groups.values.astype(np.float64)
        counts = at["count"][rows]
        total = counts + sizes
        numbers = groups.repeated(counts - starts) + np.arange(len(exact))
        with np.errstate(invalid="ignore"):
            if len(rows) == len(exact):
                means, squares = exact, np.zeros(len(exact))
            else:
                means = np.add.reduceat(exact, starts) / sizes
                squares = np.add.reduceat((exact - groups.repeated(means)) ** 2, starts)
            distance = means - at["mean"][rows]
            at["squares"][rows] += squares + distance**2 * (counts * (sizes / total))
            at["mean"][rows] += distance * (sizes / total)
            at["weighted"][rows] += np.add.reduceat(numbers * exact, starts)
        new = counts == 0
        smallest, largest = np.minimum.reduceat(groups.values, starts), np.maximum.reduceat(groups.values, starts)
        at["minimum"][rows] = np.where(new, smallest, np.minimum(at["minimum"][rows], smallest))
        at["maximum"][rows] = np.where(new, largest, np.maximum(at["maximum"][rows], largest))
        if new.any():
            at["first_step"][rows[new]] = groups.steps[starts[new]]
        at["last_step"][rows] = groups.steps[groups.ends]
        at["last"][rows] = groups.values[groups.ends]
        at["count"][rows] = total

    def _learn(self, groups: _Groups) -> None:
        """Count how often a sample was forgotten, and note when it was learned; before `last` is replaced."""
        at, rows, starts = self.fields, groups.rows, groups.starts
        correct = groups.values >= 0.5
        before = np.empty(len(correct), dtype=bool)
        before[1:] = correct[:-1]
        before[starts] = at["last"][rows] >= 0.5
        at["forgotten"][rows] += np.add.reduceat((before & ~correct).astype(np.uint32), starts)
        epochs = groups.epochs + np.uint32(1)
        never = np.uint32(2**32 - 1)
        first = np.minimum.reduceat(np.where(correct, epochs, never), starts)
        unlearned = (at["first_learned"][rows] == 0) & (first != never)
        at["first_learned"][rows] = np.where(unlearned, first, at["first_learned"][rows])
        last = np.maximum.reduceat(np.where(correct & ~before, epochs, 0), starts)
        at["last_learned"][rows] = np.where(last > 0, last, at["last_learned"][rows])

    def get(self, name: str, row_count: int) -> NDArray[Any]:
        """One of the arrays, as far as it was written."""
        found, fill = self._written(name)
        return sized(found, row_count, fill)

    def at(self, rows: Rows) -> SampleColumn:
        """A column of `rows` only: what a page needs is not computed for all."""
        return _ColumnPart(self.learning, self.fields, rows)

    def statistic(self, suffix: str, row_count: int) -> NDArray[Any]:
        """Values by row for a suffix of STATISTICS; NaN where a sample has none."""
        if suffix == "":
            return self.get("last", row_count)
        counts = self.get("count", row_count)
        if suffix == ".count":
            return counts.astype(np.float64)
        if suffix == ".variance":
            with np.errstate(invalid="ignore", divide="ignore"):
                return self.get("squares", row_count) / np.where(counts > 0, counts, np.nan)
        if suffix == ".trend":
            return self._trend(row_count)
        name = {".min": "minimum", ".max": "maximum"}.get(suffix, suffix[1:])
        return np.where(counts > 0, self.get(name, row_count).astype(np.float64), np.nan)

    def _trend(self, row_count: int) -> NDArray[np.float64]:
        """Least-squares slope of the values over 0, 1, 2, …; NaN where there are fewer than two."""
        counts = self.get("count", row_count).astype(np.float64)
        counts[counts < 2] = np.nan
        with np.errstate(invalid="ignore"):
            centered = self.get("weighted", row_count) - counts * (counts - 1) / 2 * self.get("mean", row_count)
            return np.asarray(centered * 12 / (counts * (counts * counts - 1)))


@dataclass(slots=True)
class _ColumnPart(SampleColumn):
    """Some rows of a column; each field is looked up when it is asked for."""

    rows: Rows = field(default_factory=lambda: np.empty(0, dtype=np.uint32))

    def get(self, name: str, row_count: int) -> NDArray[Any]:
        found, fill = self._written(name)
        return taken(found, self.rows, fill)


@dataclass(slots=True)
class ColumnTable:
    """All columns of per-sample values, by name."""

    columns: dict[str, SampleColumn] = field(default_factory=dict)
    # Values taken in so far; what viewers compare to know that a page is out-dated.
    value_version: int = 0

    def column(self, name: str) -> SampleColumn:
        """The column of this name, made when there is none."""
        return self.columns.setdefault(name, SampleColumn(learning=name.endswith(LEARNING_SIGNAL)))

    def update(self, name: str, batch: Batch, values: NDArray[np.float32]) -> None:
        self.column(name).update(batch, values)
        self.value_version += len(values)

    def split_name(self, name: str) -> tuple[str, str] | None:
        """The column and the suffix that a name stands for, or None."""
        if name in self.columns:
            return name, ""
        for suffix in STATISTICS:
            if suffix and name.endswith(suffix) and name[: -len(suffix)] in self.columns:
                return name[: -len(suffix)], suffix
        return None
