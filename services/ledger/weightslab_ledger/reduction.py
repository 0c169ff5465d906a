"""Fewer points of a curve without losing an extreme."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weightslab_ledger.pyramid import FAN, Level, Pyramid, sum_up_values, weighted_mean

Indices = NDArray[np.int64]


def reduce_points(values: NDArray[np.float64], budget: int) -> Indices:
    """Choose at most `budget` (at least 4) of the points, as increasing indices.

    The first, the last, the smallest and the largest are always kept (infinities count, NaN does not). The range is cut
    into buckets of equal count, and each keeps its smallest and largest finite value and, when the budget has room for
    at least one bucket of that kind, one NaN, one inf and one -inf where it has them.
    """
    count = len(values)
    if count <= budget:
        return np.arange(count)
    finite = np.isfinite(values)
    if finite.all():
        return _reduced_finite(values, budget)
    chosen: list[Any] = [np.array([0, count - 1]), _extremes(values)]
    kinds = [np.isnan(values), values == np.inf, values == -np.inf]
    kinds = [kind for kind in kinds if kind.any()]
    bucket_count = (budget - 4) // (2 + len(kinds))
    if bucket_count < 1:
        return _unique_within(chosen, [np.flatnonzero(kind)[:1] for kind in kinds], budget)
    size = -(-count // bucket_count)
    smallest = _bucket_best(np.where(finite, values, np.inf), size, np.argmin)
    largest = _bucket_best(np.where(finite, values, -np.inf), size, np.argmax)
    chosen += [smallest[finite[smallest]], largest[finite[largest]]]
    for kind in kinds:
        marked = _bucket_best(kind, size, np.argmax)
        chosen.append(marked[kind[marked]])
    return np.unique(np.concatenate(chosen))


def _reduced_finite(values: NDArray[np.float64], budget: int) -> Indices:
    count = len(values)
    ends = np.array([0, count - 1])
    if budget < 6:
        return np.unique(np.concatenate([ends, [np.argmin(values), np.argmax(values)]]))
    size = -(-count // ((budget - 2) // 2))
    return np.unique(
        np.concatenate([ends, _bucket_best(values, size, np.argmin), _bucket_best(values, size, np.argmax)])
    )


def _extremes(values: NDArray[np.float64]) -> Indices:
    """Where the smallest and the largest value are; nowhere when all are NaN."""
    known = np.isnan(values)
    if known.all():
        return np.empty(0, dtype=np.int64)
    return np.array([np.argmin(np.where(known, np.inf, values)), np.argmax(np.where(known, -np.inf, values))])


def _unique_within(chosen: list[Indices], extra: list[Indices], budget: int) -> Indices:
    """`chosen`, and as many of `extra` as the budget allows."""
    result = np.unique(np.concatenate(chosen))
    for indices in extra:
        longer = np.union1d(result, indices)
        if len(longer) <= budget:
            result = longer
    return result


def _bucket_best(values: NDArray[Any], size: int, best: Any) -> Indices:
    """Per bucket of `size` values the index that `best` (argmin or argmax along an axis) finds."""
    whole = len(values) // size * size
    found = best(values[:whole].reshape(-1, size), axis=1) + np.arange(0, whole, size)
    if whole < len(values):
        found = np.append(found, whole + best(values[whole:]))
    return np.asarray(found, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Reduced:
    """Chosen points as increasing `ordinals`, and the buckets behind them.

    `bucket_firsts`: the first ordinal of each bucket; `bucket_means`: mean of its finite values, NaN without any.
    Both are empty when nothing was left out, and when the budget was too small for buckets.
    """

    ordinals: Indices
    bucket_firsts: Indices
    bucket_means: NDArray[np.float64]


def unreduced(ordinals: Indices) -> Reduced:
    """Points without buckets behind them."""
    return Reduced(ordinals, np.empty(0, dtype=np.int64), np.empty(0))


@dataclass(frozen=True, slots=True)
class _Cells:
    """Buckets with where their extremes are, -1 without a finite value."""

    firsts: Indices
    lowest: Indices
    highest: Indices
    means: NDArray[np.float64]


def reduce_range(values: NDArray[np.float64], pyramid: Pyramid, start: int, end: int, budget: int) -> Reduced:
    """Choose at most `budget` (at least 4) of the points in [start, end), as `reduce_points` does, by a pyramid.

    From a budget of 8 on, one NaN, one inf and one -inf are kept of each bucket that has them.
    """
    count = end - start
    if count <= budget:
        return unreduced(np.arange(start, end))
    marks = pyramid.marks(start, end)
    bucket_count = (budget - 2) // (2 + len(marks))
    if bucket_count < 1:
        return unreduced(reduce_points(values[start:end], budget) + start)
    # Cells begin at multiples of their size, so that one more may be touched than would fit into the range.
    size = -(-count // (bucket_count - 1)) if bucket_count > 1 else count
    height = 0
    while FAN ** (height + 1) * 8 <= size and height < len(pyramid.levels):
        height += 1
    unit = FAN**height
    size = -(-size // unit) * unit
    if bucket_count == 1:
        parts = [_cell(values, start, end)]
    else:
        first, last = -(-start // size), end // size
        edges = [(start, min(first * size, end)), (max(last * size, start), end)] if first <= last else [(start, end)]
        parts = [_cell(values, low, high) for low, high in edges if low < high]
        if first < last:
            parts.append(_whole_cells(values, pyramid, height, first=first, last=last, size=size))
    firsts = np.concatenate([part.firsts for part in parts])
    order = np.argsort(firsts)
    lowest, highest, means = (
        np.concatenate([getattr(part, name) for part in parts])[order] for name in ("lowest", "highest", "means")
    )
    known = lowest >= 0
    chosen = [np.array([start, end - 1]), lowest[known], highest[known]]
    chosen += [_first_of_each(ordinals, firsts[order], end) for ordinals in marks]
    return Reduced(np.unique(np.concatenate(chosen)), firsts[order], means)


def _cell(values: NDArray[np.float64], start: int, end: int) -> _Cells:
    """The points of [start, end) as one bucket."""
    part = values[start:end]
    finite = np.isfinite(part)
    firsts = np.array([start])
    if not finite.any():
        return _Cells(firsts, np.array([-1]), np.array([-1]), np.array([np.nan]))
    if finite.all():
        lowest, highest, mean = part.argmin(), part.argmax(), part.mean()
    else:
        lowest, highest = np.where(finite, part, np.inf).argmin(), np.where(finite, part, -np.inf).argmax()
        mean = part[finite].mean()
    return _Cells(firsts, np.array([start + lowest]), np.array([start + highest]), np.array([mean]))


def _whole_cells(
    values: NDArray[np.float64], pyramid: Pyramid, height: int, *, first: int, last: int, size: int
) -> _Cells:
    """The cells `first` to `last` (excluded), whose points are all there."""
    firsts = np.arange(first, last) * size
    rows = np.arange(last - first)
    if not height:
        level, unit = Level(), 1
        sum_up_values(values[first * size : last * size].reshape(-1, 1), level, first=first * size)
        here = slice(None)
    else:
        level, unit = pyramid.levels[height - 1], FAN**height
        here = slice(first * size // unit, last * size // unit)

    def cells(name: str) -> NDArray[Any]:
        return level.get(name)[here].reshape(len(rows), -1)

    low, high, counts = cells("low").argmin(axis=1), cells("high").argmax(axis=1), cells("finite").sum(axis=1)
    means = np.where(counts > 0, weighted_mean(cells("mean"), cells("finite"), counts), np.nan)
    known = counts > 0
    return _Cells(
        firsts,
        np.where(known, cells("lowest")[rows, low], -1),
        np.where(known, cells("highest")[rows, high], -1),
        means,
    )


def _first_of_each(ordinals: Indices, firsts: Indices, end: int) -> Indices:
    """The first of sorted `ordinals` in each of the buckets that begin at `firsts`."""
    at = np.searchsorted(ordinals, firsts)
    ends = np.append(firsts[1:], end)
    there = at < len(ordinals)
    found = ordinals[at[there]]
    return found[found < ends[there]]
