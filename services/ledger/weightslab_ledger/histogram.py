"""Histograms of a column over some samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from weightslab_ledger.edits import Mask
from weightslab_ledger.frame import Values
from weightslab_ledger.metadata import TextValues

MAX_BINS = 512
DEFAULT_BINS = 50


@dataclass(frozen=True, slots=True)
class Histogram:
    """Either `edges` (float64, one more than counts) or `categories` (most frequent first); `counts` int64."""

    edges: NDArray[np.float64] | None
    categories: list[str]
    counts: NDArray[np.int64]
    missing_count: int


def histogram(values: Values, mask: Mask, bin_count: int) -> Histogram:
    """Count the values where `mask` holds. What is NaN or infinite has no bin and counts as missing."""
    if isinstance(values, TextValues):
        return _categories(values, mask)
    numbers = np.asarray(values[mask], dtype=np.float64)
    finite = numbers[np.isfinite(numbers)]
    missing_count = len(numbers) - len(finite)
    if not len(finite):
        return Histogram(np.linspace(0.0, 1.0, bin_count + 1), [], np.zeros(bin_count, dtype=np.int64), missing_count)
    low, high = float(finite.min()), float(finite.max())
    edges = _edges(low, high, bin_count)
    if not np.isfinite(edges).all() or not (np.diff(edges) > 0).all():
        # The range is too wide or too narrow for so many bins of float64: all values share one.
        edges = np.array([np.nextafter(low, -np.inf), np.nextafter(high, np.inf)])
        return Histogram(edges, [], np.array([len(finite)]), missing_count)
    counts, _ = np.histogram(finite, bins=bin_count, range=(edges[0], edges[-1]))
    return Histogram(edges, [], counts.astype(np.int64), missing_count)


def _edges(low: float, high: float, bin_count: int) -> NDArray[np.float64]:
    if low == high:
        half = max(abs(low) * 0.5, 0.5)
        low, high = low - half, high + half
    with np.errstate(over="ignore", invalid="ignore"):
        return np.linspace(low, high, bin_count + 1)


def _categories(values: TextValues, mask: Mask) -> Histogram:
    counts = np.bincount(values.codes[mask], minlength=len(values.categories))
    total: dict[str, int] = {}
    for code in np.flatnonzero(counts).tolist():
        text = values.categories[code]
        total[text] = total.get(text, 0) + int(counts[code])
    missing_count = total.pop("", 0)
    ranked = sorted(total.items(), key=lambda item: (-item[1], item[0]))[:MAX_BINS]
    numbers = np.array([count for _, count in ranked], dtype=np.int64)
    return Histogram(None, [text for text, _ in ranked], numbers, missing_count)
