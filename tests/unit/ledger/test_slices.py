"""Breaking a signal by groups of samples equals what is computed from all values at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from weightslab_common.errors import InvalidArgument
from weightslab_ledger.chunks import Seen
from weightslab_ledger.slices import AUTO_BUCKETS, bucket_size, slice_curves

ROWS = 12


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(1, 5))
def test_slices_equal_an_offline_computation(seed: int, bucket_steps: int, part_count: int) -> None:
    randomness = np.random.default_rng(seed)
    parts = []
    for _ in range(part_count):
        count = int(randomness.integers(1, 40))
        values = randomness.normal(size=count).astype(np.float32) * 1000 + 5
        values[randomness.random(count) < 0.1] = np.nan
        rows = randomness.integers(0, ROWS, count).astype(np.uint32)
        parts.append(Seen(rows, randomness.integers(3, 30, count), np.zeros(count, dtype=np.uint32), values))
    masks = [randomness.random(ROWS) < 0.5 for _ in range(3)]
    found = slice_curves(iter(parts), masks, first_step=5, last_step=25, bucket_steps=bucket_steps)
    rows, steps, values = (np.concatenate([getattr(p, name) for p in parts]) for name in ("rows", "steps", "values"))
    inside = (steps >= 5) & (steps <= 25) & ~np.isnan(values)
    for mask, buckets in zip(masks, found, strict=True):
        mine = inside & mask[rows]
        expected = np.unique(steps[mine] // bucket_steps * bucket_steps)
        assert buckets.steps.tolist() == expected.tolist()
        for number, step in enumerate(expected):
            chosen = values[mine & (steps // bucket_steps * bucket_steps == step)].astype(np.float64)
            assert buckets.counts[number] == len(chosen)
            assert buckets.means[number] == pytest.approx(chosen.mean(), abs=1e-9)
            assert buckets.deviations[number] == pytest.approx(chosen.std(), abs=1e-6)


def test_an_infinite_value_makes_its_bucket_infinite_and_no_other() -> None:
    zeros = np.zeros(3, dtype=np.uint32)
    seen = Seen(zeros, np.array([0, 1, 1]), zeros, np.array([1, np.inf, 2], dtype=np.float32))
    (buckets,) = slice_curves([seen], [np.ones(1, dtype=bool)], first_step=0, last_step=1, bucket_steps=1)
    assert buckets.means.tolist() == [1, np.inf]
    assert np.isnan(buckets.deviations[1])


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_a_chosen_bucket_size_needs_no_more_than_the_bound(first: int, span: int) -> None:
    size = bucket_size(first, first + span)
    assert (first + span) // size - first // size + 1 <= AUTO_BUCKETS


def test_too_many_buckets_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="take larger buckets or fewer steps"):
        slice_curves([], [np.ones(1, dtype=bool)], first_step=0, last_step=10**9, bucket_steps=1)
