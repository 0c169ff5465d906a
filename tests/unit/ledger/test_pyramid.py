"""A curve reduced by its pyramid keeps what a reduction of all its points keeps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from weightslab_ledger.curves import Curve, Key, Points, Wanted


def _curve(values: NDArray[np.float64], pieces: int = 1) -> Curve:
    curve = Curve(Key("loss", "main", 1))
    steps = np.arange(len(values)) * 2
    for part in np.array_split(np.arange(len(values)), pieces):
        curve.append(Points(curve.key, steps[part], values[part], np.full(len(part), np.nan)))
    return curve


def _values(seed: int, count: int, odd: float) -> NDArray[np.float64]:
    randomness = np.random.default_rng(seed)
    values = randomness.normal(size=count)
    strange = randomness.random(count) < odd
    values[strange] = randomness.choice([np.nan, np.inf, -np.inf, 1e300], int(strange.sum()))
    return values


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 2**32),
    st.integers(1, 6000),
    st.sampled_from([0.0, 0.001, 0.3, 1.0]),
    st.integers(4, 300),
    st.integers(1, 9),
    st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_a_range_of_any_curve_keeps_its_extremes_its_ends_and_its_marks(
    seed: int, count: int, odd: float, budget: int, pieces: int, bounds: tuple[float, float]
) -> None:
    values = _values(seed, count, odd)
    first, last = (int(bound * count * 2) for bound in sorted(bounds))
    curve = _curve(values, pieces)
    chosen = curve.choose(Wanted(first_step=first, last_step=last, budget=budget))
    ordinals = chosen.reduced.ordinals
    inside = values[(np.arange(count) * 2 >= first) & (np.arange(count) * 2 <= last)]
    assert chosen.range_count == len(inside)
    assert len(ordinals) <= budget
    assert (np.diff(ordinals) > 0).all()
    if not len(inside):
        return
    kept = values[ordinals]
    start = -(-first // 2)
    assert (ordinals[0], ordinals[-1]) == (start, start + len(inside) - 1)
    if budget >= 8:
        for kind in (np.isnan, np.isposinf, np.isneginf):
            assert kind(kept).any() == kind(inside).any()
        finite = inside[np.isfinite(inside)]
        if len(finite):
            shown = kept[np.isfinite(kept)]
            assert (shown.min(), shown.max()) == (finite.min(), finite.max())


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(500, 30_000), st.sampled_from([0.0, 0.01, 0.5]), st.integers(8, 200))
def test_the_mean_of_each_bucket_is_that_of_its_points(seed: int, count: int, odd: float, budget: int) -> None:
    values = _values(seed, count, odd)
    values[values == 1e300] = 3.0
    reduced = _curve(values, 7).choose(Wanted(first_step=33, budget=budget)).reduced
    edges = [*reduced.bucket_firsts.tolist(), count]
    assert edges[0] == 17
    for start, end, mean in zip(edges[:-1], edges[1:], reduced.bucket_means, strict=True):
        finite = values[start:end][np.isfinite(values[start:end])]
        assert mean == pytest.approx(finite.mean(), abs=1e-9) if len(finite) else np.isnan(mean)


@pytest.mark.parametrize("budget", [4, 5, 8, 100, 2000])
def test_a_spike_of_one_step_in_a_million_stays(budget: int) -> None:
    values = np.zeros(1_000_000)
    values[777_777] = 100.0
    assert 777_777 in _curve(values, 3).choose(Wanted(budget=budget)).reduced.ordinals


def test_steps_that_go_back_are_reduced_in_their_order() -> None:
    curve = _curve(np.arange(100.0))
    curve.append(Points(curve.key, np.array([5]), np.array([-7.0]), np.array([np.nan])))
    chosen = curve.choose(Wanted(budget=6)).reduced.ordinals
    assert 100 in chosen
    assert (np.diff(curve.steps[chosen]) >= 0).all()
