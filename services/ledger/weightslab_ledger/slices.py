"""Break by slices: mean and spread of a signal over groups of samples, by bucket of steps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from weightslab_common.errors import InvalidArgument

from weightslab_ledger.chunks import Seen, joined_seen
from weightslab_ledger.edits import Mask

MAX_SLICES = 64
AUTO_BUCKETS = 500
# Buckets of all slices of a branch together; each takes 24 bytes while it is computed.
MAX_CELLS = 2_000_000
# Values worked on at once: enough to make the cost of a call small, and little memory.
_CHUNK_VALUES = 1 << 18


@dataclass(frozen=True, slots=True)
class Buckets:
    """Buckets that hold values: `steps` int64, the first of each; `means`, `deviations` float64; `counts` int64."""

    steps: NDArray[np.int64]
    means: NDArray[np.float64]
    deviations: NDArray[np.float64]
    counts: NDArray[np.int64]


class _Sums:
    """Running count, mean and sum of squared differences per bucket."""

    def __init__(self, bucket_count: int) -> None:
        self.counts = np.zeros(bucket_count, dtype=np.int64)
        self.means = np.zeros(bucket_count)
        self.squares = np.zeros(bucket_count)

    def add(self, buckets: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        """Merge values by the pairwise update of Chan, Golub and LeVeque (1979)."""
        if not len(values):
            return
        first, last = int(buckets.min()), int(buckets.max()) + 1
        buckets = buckets - first
        counts = np.bincount(buckets, minlength=last - first)
        with np.errstate(invalid="ignore", divide="ignore"):
            means = np.where(counts > 0, np.bincount(buckets, values, minlength=last - first) / counts, 0)
            squares = np.bincount(buckets, (values - means[buckets]) ** 2, minlength=last - first)
            here = slice(first, last)
            total = self.counts[here] + counts
            share = np.where(total > 0, counts / total, 0)
            distance = np.where(counts > 0, means - self.means[here], 0)
            self.squares[here] += squares + distance**2 * self.counts[here] * share
            self.means[here] += distance * share
            self.counts[here] = total

    def buckets(self, *, first_bucket: int, bucket_steps: int) -> Buckets:
        found = np.flatnonzero(self.counts)
        counts = self.counts[found]
        with np.errstate(invalid="ignore"):
            deviations = np.sqrt(self.squares[found] / counts)
        return Buckets((found + first_bucket) * bucket_steps, self.means[found], deviations, counts)


def bucket_size(first_step: int, last_step: int) -> int:
    """Steps per bucket so that a range needs at most AUTO_BUCKETS."""
    # One bucket more may be touched than would fit, because buckets begin at multiples of their size.
    return max(1, -(-(last_step - first_step + 1) // (AUTO_BUCKETS - 1)))


def slice_curves(
    seen: Iterable[Seen], masks: list[Mask], *, first_step: int, last_step: int, bucket_steps: int
) -> list[Buckets]:
    """One result per mask (bools by row), over what was seen from `first_step` to `last_step`; NaN is no value.

    Raises InvalidArgument when there were too many buckets to compute.
    """
    first_bucket = first_step // bucket_steps
    bucket_count = last_step // bucket_steps - first_bucket + 1
    if bucket_count * len(masks) > MAX_CELLS:
        raise InvalidArgument(
            f"{bucket_count:,} buckets for {len(masks)} slices are too many: take larger buckets or fewer steps"
        )
    sums = [_Sums(bucket_count) for _ in masks]
    for chunk in _chunks(seen):
        usable = ~np.isnan(chunk.values) & (chunk.steps >= first_step) & (chunk.steps <= last_step)
        rows, values = chunk.rows[usable], chunk.values[usable].astype(np.float64)
        buckets = chunk.steps[usable] // bucket_steps - first_bucket
        for mask, total in zip(masks, sums, strict=True):
            inside = mask[rows]
            total.add(buckets[inside], values[inside])
    return [total.buckets(first_bucket=first_bucket, bucket_steps=bucket_steps) for total in sums]


def _chunks(seen: Iterable[Seen]) -> Iterator[Seen]:
    """The same values in fewer and larger pieces."""
    held: list[Seen] = []
    count = 0
    for part in seen:
        held.append(part)
        count += len(part.rows)
        if count >= _CHUNK_VALUES:
            yield joined_seen(held)
            held, count = [], 0
    if held:
        yield joined_seen(held)
