"""Chunks give back exactly what was put in, of all samples and of some."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from weightslab_ledger.chunks import Chunk, Entries, by_row, pack_chunk, selection_of

# Rows and steps close together and far apart take other widths on disk.
SPREADS = [1, 40, 300, 70_000, 2**31]
FIRST_STEPS = [0, -5, -(2**63)]


def _entries(seed: int, count: int, row_spread: int, step_spread: int, first_step: int = -5) -> Entries:
    randomness = np.random.default_rng(seed)
    values = randomness.normal(size=(2, count)).astype(np.float32)
    values[randomness.random((2, count)) < 0.2] = np.nan
    values[randomness.random((2, count)) < 0.1] = np.inf
    return Entries(
        rows=randomness.integers(0, row_spread, count).astype(np.uint32),
        steps=randomness.integers(first_step, step_spread, count),
        epochs=randomness.integers(3, 5, count).astype(np.uint32),
        values=(values[0], values[1]),
    )


@settings(max_examples=80)
@given(
    st.integers(0, 2**32),
    st.sampled_from([1, 2, 255, 256, 257, 700, 4000]),
    st.sampled_from(SPREADS),
    st.sampled_from(SPREADS),
    st.sampled_from(FIRST_STEPS),
)
def test_what_was_packed_is_given_back(
    seed: int, count: int, row_spread: int, step_spread: int, first_step: int
) -> None:
    entries = _entries(seed, count, row_spread, step_spread, first_step)
    chunk = Chunk(*pack_chunk(by_row(entries)))
    order = np.argsort(entries.rows, kind="stable")
    for signal in range(2):
        seen = chunk.entries(signal)
        for found, given_ in (
            (seen.rows, entries.rows),
            (seen.steps, entries.steps),
            (seen.epochs, entries.epochs),
            (seen.values, entries.values[signal]),
        ):
            np.testing.assert_array_equal(found, given_[order])
            assert found.dtype == given_.dtype


@settings(max_examples=80)
@given(st.integers(0, 2**32), st.sampled_from([1, 256, 4000]), st.sampled_from(SPREADS), st.integers(1, 40))
def test_some_samples_are_found_as_by_looking_at_all(seed: int, count: int, spread: int, wanted_count: int) -> None:
    entries = _entries(seed, count, spread, 50)
    chunk = Chunk(*pack_chunk(by_row(entries)))
    randomness = np.random.default_rng(seed)
    # Some that are there, and some that are not.
    there = randomness.choice(entries.rows, wanted_count)
    rows = np.concatenate([there, randomness.integers(0, min(spread * 2, 10**6), wanted_count).astype(np.uint32)])
    rows = rows[rows < 10**7] if (rows < 10**7).any() else np.zeros(1, dtype=np.uint32)
    seen, every = chunk.entries(1, selection_of(rows)), chunk.entries(1)
    mine = np.isin(every.rows, rows)
    for found, expected in ((seen.rows, every.rows), (seen.steps, every.steps), (seen.values, every.values)):
        np.testing.assert_array_equal(found, expected[mine])


@given(st.integers(0, 2**32), st.integers(-10, 60))
def test_the_newest_step_with_a_value_is_found(seed: int, step: int) -> None:
    entries = _entries(seed, 300, 40, 50)
    found = Chunk(*pack_chunk(by_row(entries))).step_before(0, step)
    usable = (entries.steps <= step) & ~np.isnan(entries.values[0])
    if not usable.any():
        assert found is None
        return
    assert found is not None
    newest = usable & (entries.steps == entries.steps[usable].max())
    assert sorted(found.rows.tolist()) == sorted(entries.rows[newest].tolist())
    assert sorted(found.values.tolist()) == sorted(entries.values[0][newest].tolist())


def test_a_dense_chunk_takes_little_more_than_its_values() -> None:
    count = 1 << 17
    randomness = np.random.default_rng(1)
    values = tuple(randomness.random(count, dtype=np.float32) for _ in range(2))
    rows = randomness.permutation(1_000_000)[:count].astype(np.uint32)
    entries = Entries(rows, 10**9 + np.arange(count) // 64, np.full(count, 7, dtype=np.uint32), values)
    header, body = pack_chunk(by_row(entries))
    assert header["types"] == ["|u1", "<u2", ""]
    assert len(body) / (2 * count) == pytest.approx(5.5, abs=0.02)
