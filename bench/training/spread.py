"""What several measurements of the same say. Needs nothing but Python."""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterable

RESAMPLES = 2000


def spread(values: Iterable[float], *, digits: int = 4) -> dict[str, float]:
    """The median with its 95 % interval, by percentile bootstrap (Efron 1979), and the spread of the single values."""
    ordered = sorted(values)
    low, high = _interval(ordered)
    found = {
        "median": statistics.median(ordered),
        "median_low_95": low,
        "median_high_95": high,
        "p5": ordered[round(0.05 * (len(ordered) - 1))],
        "p95": ordered[round(0.95 * (len(ordered) - 1))],
    }
    return {name: round(value, digits) for name, value in found.items()}


def _interval(values: list[float]) -> tuple[float, float]:
    draw = random.Random(1)
    medians = sorted(statistics.median(draw.choices(values, k=len(values))) for _ in range(RESAMPLES))
    return medians[round(0.025 * RESAMPLES)], medians[round(0.975 * RESAMPLES) - 1]
