"""Orders: missing values last either way, ties by row, the same however much is worked out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from weightslab_ledger.metadata import TextValues
from weightslab_ledger.sorting import order_rows

NUMBERS = st.lists(st.floats(width=32), min_size=1, max_size=50)


def _all(count: int) -> NDArray[np.bool_]:
    return np.ones(count, dtype=bool)


def _sorted(values: list[float], descending: bool) -> list[int]:
    """By plain Python: missing last, ties by row."""

    def key(row: int) -> tuple[bool, float, int]:
        value = values[row]
        missing = value != value
        return missing, 0.0 if missing else (-value if descending else value), row

    return sorted(range(len(values)), key=key)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(values=NUMBERS, descending=st.booleans())
def test_numbers_are_ordered_as_by_plain_python(dtype: type, values: list[float], descending: bool) -> None:
    order = order_rows(_all(len(values)), [(np.array(values, dtype=dtype), descending)])
    assert order.page(0, len(values)).tolist() == _sorted(values, descending)


@given(st.lists(st.tuples(st.integers(0, 2), st.floats(-2, 2, width=32)), min_size=1, max_size=40))
def test_a_second_key_breaks_ties_of_the_first(pairs: list[tuple[int, float]]) -> None:
    first = np.array([pair[0] for pair in pairs], dtype=np.float64)
    second = np.array([pair[1] for pair in pairs], dtype=np.float32)
    order = order_rows(_all(len(pairs)), [(first, False), (second, True)])
    expected = sorted(range(len(pairs)), key=lambda row: (pairs[row][0], -pairs[row][1], row))
    assert order.page(0, len(pairs)).tolist() == expected


@pytest.mark.parametrize("ties", [False, True])
def test_a_first_page_is_the_beginning_of_the_whole_order(ties: bool) -> None:
    values = np.random.default_rng(0).random(50_000).astype(np.float32)
    if ties:
        values = np.round(values, 1)
    order = order_rows(_all(50_000), [(values, True)])
    pages = [order.page(offset, 100).tolist() for offset in (0, 100, 3900)]
    whole = np.argsort(-values, kind="stable")
    assert pages == [whole[offset : offset + 100].tolist() for offset in (0, 100, 3900)]
    assert order.page(30_000, 100).tolist() == whole[30_000:30_100].tolist()
    assert order.page(0, 100).tolist() == pages[0]


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("period", [1, 61, 64])
def test_values_that_return_with_a_period_do_not_mislead_the_first_page(period: int, descending: bool) -> None:
    values = np.random.default_rng(0).random(50_000).astype(np.float32)
    # Every so many are far below the others.
    values[::period] -= 5
    order = order_rows(_all(50_000), [(values, descending)])
    whole = np.argsort(-values if descending else values, kind="stable")
    assert order.page(4000, 96).tolist() == whole[4000:4096].tolist()


def test_texts_that_are_numbers_are_ordered_by_value_and_the_empty_one_is_last() -> None:
    texts = ["10", "", "9", "a", "10"]
    values = TextValues(np.arange(5, dtype=np.uint32), texts)
    assert order_rows(_all(5), [(values, False)]).page(0, 5).tolist() == [2, 0, 4, 3, 1]
    assert order_rows(_all(5), [(values, True)]).page(0, 5).tolist() == [3, 0, 4, 2, 1]


def test_an_order_beyond_its_end_is_empty() -> None:
    assert order_rows(_all(3), []).page(5, 10).tolist() == []
