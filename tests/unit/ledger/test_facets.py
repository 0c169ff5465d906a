"""Counts of the values of a column under a filter."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from weightslab_ledger.catalog import Catalog
from weightslab_ledger.columns import ColumnTable
from weightslab_ledger.edits import EditState
from weightslab_ledger.facets import MAX_VALUES, class_name, count_values, default_facets
from weightslab_ledger.frame import Frame, frame_of
from weightslab_ledger.metadata import TextValues

from tests.unit.ledger.trainers import registration


def _frame(*class_names: list[str]) -> Frame:
    catalog = Catalog()
    for number, names in enumerate(class_names):
        uids = [str(i) for i in range(600)]
        part = catalog.plan(
            registration(f"split{number}", uids, class_names=names),
            {"target": np.arange(600.0) % 3, "exact": np.arange(600.0), "camera": ["a", "b", ""] * 200, "note": uids},
        )
        assert part
        catalog.apply(part)
    return frame_of(catalog, ColumnTable(), EditState())


@given(st.lists(st.sampled_from([0.0, 1.0, 2.5, -3.0, np.inf, np.nan, 7e9]), max_size=40), st.integers(0, 2**32))
def test_counts_of_numbers_equal_counting_them_one_by_one(numbers: list[float], seed: int) -> None:
    mask = np.random.default_rng(seed).random(len(numbers)) < 0.7
    counted = count_values(np.array(numbers), mask)
    chosen = [number for number, yes in zip(numbers, mask, strict=True) if yes]
    known = [number for number in chosen if not np.isnan(number)]
    expected = sorted(((number, known.count(number)) for number in set(known)), key=lambda item: (-item[1], item[0]))
    assert (counted.values, counted.missing_count) == (expected, len(chosen) - len(known))


def test_texts_are_counted_and_the_empty_one_is_missing() -> None:
    texts = TextValues(np.array([0, 1, 2, 1], dtype=np.uint32), ["", "a", "b"])
    counted = count_values(texts, np.ones(4, dtype=bool))
    assert (counted.values, counted.missing_count, counted.distinct_count) == ([("a", 2), ("b", 1)], 1, 2)


def test_of_very_many_values_the_most_frequent_are_given_and_all_are_counted() -> None:
    counted = count_values(np.append(np.arange(5000.0), 4000), np.ones(5001, dtype=bool))
    assert (len(counted.values), counted.distinct_count, counted.values[0]) == (MAX_VALUES, 5000, (4000, 2))


def test_columns_of_few_values_are_facets_by_themselves() -> None:
    assert default_facets(_frame([])) == ["split", "camera", "target"]


def test_a_class_has_a_name_when_the_splits_agree() -> None:
    names = ["cat", "dog"]
    catalog = _frame(names, names, []).catalog
    assert [class_name(catalog, value) for value in (0, 1, 2, 0.5, -1)] == ["cat", "dog", "", "", ""]
    assert class_name(_frame(names, ["dog", "cat"]).catalog, 0) == ""
