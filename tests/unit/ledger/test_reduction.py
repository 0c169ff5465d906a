"""Reduced curves keep every extreme."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from weightslab_ledger.reduction import reduce_points

VALUES = st.lists(st.one_of(st.floats(allow_nan=True, allow_infinity=True)), min_size=1, max_size=300)


@given(VALUES, st.integers(4, 60))
def test_first_last_smallest_and_largest_stay_at_any_budget(values: list[float], budget: int) -> None:
    array = np.array(values)
    chosen = reduce_points(array, budget)
    assert len(chosen) <= budget
    assert (np.diff(chosen) > 0).all()
    kept = array[chosen]
    assert chosen[0] == 0
    assert chosen[-1] == len(array) - 1
    if not np.isnan(array).all():
        assert np.nanmin(kept) == np.nanmin(array)
        assert np.nanmax(kept) == np.nanmax(array)


@given(VALUES)
def test_a_gap_and_an_infinity_stay_from_a_budget_of_nine_on(values: list[float]) -> None:
    array = np.array(values)
    kept = array[reduce_points(array, 9)]
    for kind in (np.isnan, np.isposinf, np.isneginf):
        assert kind(kept).any() == kind(array).any()


@pytest.mark.parametrize("budget", [4, 5, 100, 2000])
def test_a_spike_of_one_step_in_a_million_stays(budget: int) -> None:
    values = np.zeros(1_000_000)
    values[777_777] = 100.0
    assert 777_777 in reduce_points(values, budget)


def test_a_spike_stays_beside_an_infinity() -> None:
    values = np.ones(10_000)
    values[5000], values[5001] = np.inf, 100.0
    chosen = set(reduce_points(values, 100).tolist())
    assert {5000, 5001} <= chosen


def test_few_points_stay_as_they_are() -> None:
    assert reduce_points(np.arange(4.0), 4).tolist() == [0, 1, 2, 3]
