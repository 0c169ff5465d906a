"""A pyramid over the values of a curve: each level sums up sixteen entries of the one below.

A million points are reduced without touching most of them. Only finite values are summed up; where a curve is NaN or
infinite is kept beside, as sorted ordinals.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from weightslab_ledger.arrays import grown

FAN = 16

Ordinals = NDArray[np.int64]


@dataclass(slots=True)
class Level:
    """Entries over FAN entries below each: extremes with their ordinals, and count and mean of the finite values.

    Without a finite value the extremes are inf and -inf, the count is 0 and the mean is 0.
    """

    count: int = 0
    _columns: dict[str, NDArray[np.float64] | NDArray[np.int64]] = field(
        default_factory=lambda: {
            "low": np.empty(0),
            "high": np.empty(0),
            "mean": np.empty(0),
            "lowest": np.empty(0, dtype=np.int64),
            "highest": np.empty(0, dtype=np.int64),
            "finite": np.empty(0, dtype=np.int64),
        }
    )

    def get(self, name: str) -> NDArray[np.float64] | NDArray[np.int64]:
        return self._columns[name][: self.count]

    def append(self, **entries: NDArray[np.float64] | NDArray[np.int64]) -> None:
        end = self.count + len(entries["low"])
        for name, values in entries.items():
            self._columns[name] = column = grown(self._columns[name], end, 0)
            column[self.count : end] = values
        self.count = end


@dataclass(slots=True)
class Pyramid:
    """Levels 1, 2, … over the values of a curve; level 0 is the values themselves."""

    levels: list[Level] = field(default_factory=list)
    # By kind (`nan`, `inf`, `-inf`), where the curve is so.
    _marks: dict[str, Ordinals] = field(default_factory=dict)
    _mark_counts: dict[str, int] = field(default_factory=dict)

    def extend(self, values: NDArray[np.float64], first: int) -> None:
        """Take in the values from ordinal `first` on; `values` are all of the curve."""
        added = values[first:]
        if not np.isfinite(added).all():
            for kind, where in (("nan", np.isnan(added)), ("inf", added == np.inf), ("-inf", added == -np.inf)):
                self._mark(kind, np.flatnonzero(where) + first)
        below = len(values)
        number = 0
        while below >= FAN:
            if number == len(self.levels):
                self.levels.append(Level())
            level = self.levels[number]
            start, below = level.count, below // FAN
            if below == start:
                return
            if number:
                _sum_up_level(self.levels[number - 1], level, start, below)
            else:
                sum_up_values(values[start * FAN : below * FAN].reshape(-1, FAN), level, first=start * FAN)
            number += 1

    def _mark(self, kind: str, ordinals: Ordinals) -> None:
        count = self._mark_counts.get(kind, 0)
        end = count + len(ordinals)
        self._marks[kind] = marks = grown(self._marks.get(kind, np.empty(0, dtype=np.int64)), end, 0)
        marks[count:end] = ordinals
        self._mark_counts[kind] = end

    def marks(self, start: int, end: int) -> list[Ordinals]:
        """For each kind of non-finite value that is there, where it is within [start, end)."""
        found = []
        for kind, count in list(self._mark_counts.items()):
            ordinals = self._marks[kind][:count]
            low, high = np.searchsorted(ordinals, [start, end])
            if low < high:
                found.append(ordinals[low:high])
        return found


def sum_up_values(blocks: NDArray[np.float64], level: Level, *, first: int) -> None:
    """Append an entry for each block of values, shape (blocks, values of a block), the first of ordinal `first`."""
    finite = np.isfinite(blocks)
    low, high = np.where(finite, blocks, np.inf), np.where(finite, blocks, -np.inf)
    firsts = first + np.arange(len(blocks)) * blocks.shape[1]
    counts = finite.sum(axis=1)
    level.append(
        low=low.min(axis=1),
        high=high.max(axis=1),
        mean=weighted_mean(np.where(finite, blocks, 0.0), np.ones_like(blocks), counts),
        lowest=firsts + low.argmin(axis=1),
        highest=firsts + high.argmax(axis=1),
        finite=counts,
    )


def _sum_up_level(below: Level, level: Level, start: int, end: int) -> None:
    def blocks(name: str) -> NDArray[np.float64] | NDArray[np.int64]:
        return below.get(name)[start * FAN : end * FAN].reshape(-1, FAN)

    low, high = blocks("low"), blocks("high")
    rows = np.arange(end - start)
    lowest, highest = low.argmin(axis=1), high.argmax(axis=1)
    counts = blocks("finite").sum(axis=1)
    level.append(
        low=low[rows, lowest],
        high=high[rows, highest],
        mean=weighted_mean(blocks("mean"), blocks("finite"), counts),
        lowest=blocks("lowest")[rows, lowest],
        highest=blocks("highest")[rows, highest],
        finite=counts,
    )


def weighted_mean(
    values: NDArray[np.float64] | NDArray[np.int64],
    weights: NDArray[np.float64] | NDArray[np.int64],
    counts: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Weighted mean along the second axis, without a sum that could overflow; 0 where the counts are 0."""
    shares = weights / np.maximum(counts, 1)[:, None]
    return np.asarray((values * shares).sum(axis=1))
