"""Running statistics equal those of all values at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from weightslab_ledger.columns import STATISTICS, Batch, SampleColumn

BATCHES = st.lists(
    st.lists(
        st.tuples(st.integers(0, 5), st.one_of(st.floats(-1e3, 1e3, width=32), st.just(float("nan")))), max_size=20
    ),
    min_size=1,
    max_size=8,
)


def _batch(rows: np.ndarray, step: int) -> Batch:
    return Batch(rows, np.full(len(rows), step, dtype=np.int64), np.zeros(len(rows), dtype=np.uint32), 6)


@given(BATCHES)
def test_statistics_equal_an_offline_computation(batches: list[list[tuple[int, float]]]) -> None:
    column = SampleColumn()
    seen: dict[int, list[tuple[float, int]]] = {}
    for step, batch in enumerate(batches):
        rows = np.array([row for row, _ in batch], dtype=np.uint32)
        values = np.array([value for _, value in batch], dtype=np.float32)
        column.update(_batch(rows, step), values)
        for row, value in batch:
            if not np.isnan(value):
                seen.setdefault(row, []).append((value, step))
    got = {suffix: column.statistic(suffix, 6) for suffix in STATISTICS}
    for row in range(6):
        if row not in seen:
            assert got[".count"][row] == 0
            assert all(np.isnan(got[suffix][row]) for suffix in STATISTICS if suffix != ".count")
            continue
        values = np.array([value for value, _ in seen[row]])
        steps = [step for _, step in seen[row]]
        trend = np.polyfit(np.arange(len(values)), values, 1)[0] if len(values) > 1 else np.nan
        want = [values[-1], len(values), values.mean(), values.min(), values.max(), values.var()]
        want += [steps[0], steps[-1], trend]
        found = [float(got[suffix][row]) for suffix in STATISTICS]
        assert found == pytest.approx(want, rel=1e-9, abs=1e-6, nan_ok=True)


# A statistic is a float64, which is exact up to 2**53.
@given(st.lists(st.integers(0, 9) | st.integers(-(2**53), 2**53) | st.integers(2**32 - 2, 2**32 + 2), min_size=1))
def test_steps_of_any_size_are_kept_exactly(steps: list[int]) -> None:
    column = SampleColumn()
    rows, values = np.array([0, 3], dtype=np.uint32), np.ones(2, dtype=np.float32)
    for number, step in enumerate(steps):
        column.update(_batch(rows[: 1 + (number > 0)], step), values[: 1 + (number > 0)])
    first, last = column.statistic(".first_step", 4), column.statistic(".last_step", 4)
    assert (first[0], last[0]) == (steps[0], steps[-1])
    if len(steps) > 1:
        assert (first[3], last[3]) == (steps[1], steps[-1])


def test_values_and_steps_take_48_bytes_of_each_sample() -> None:
    column = SampleColumn()
    column.update(_batch(np.arange(6, dtype=np.uint32), 7), np.ones(6, dtype=np.float32))
    assert sum(array.itemsize for array in column.fields.values()) == 48


def test_an_infinite_value_is_a_value() -> None:
    column = SampleColumn()
    column.update(_batch(np.array([0], dtype=np.uint32), 1), np.array([np.inf], dtype=np.float32))
    assert np.isposinf(column.statistic("", 1)[0])
    assert column.statistic(".count", 1)[0] == 1
