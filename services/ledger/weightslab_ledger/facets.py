"""Facets: how many of some samples have each value of a column of few values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from weightslab_common.errors import InvalidArgument

from weightslab_ledger.catalog import Catalog
from weightslab_ledger.edits import Mask
from weightslab_ledger.frame import Frame, Values
from weightslab_ledger.metadata import TextValues

MAX_VALUES = 512
# A column whose first samples already have more values than can be shown is no column of few values.
_LOOK_ROWS = 4096
# Whole numbers within this range are counted without sorting them.
_COUNT_RANGE = 1 << 16


@dataclass(frozen=True, slots=True)
class Counted:
    """`values`: texts or floats with their counts, most frequent first, at most MAX_VALUES."""

    is_text: bool
    values: list[tuple[str | float, int]]
    distinct_count: int
    missing_count: int


def count_values(values: Values, mask: Mask) -> Counted:
    """Count each value of a column where `mask` holds; the empty text and NaN count as missing."""
    if isinstance(values, TextValues):
        return _texts(values, mask)
    numbers = np.asarray(values[mask], dtype=np.float64)
    known = numbers[~np.isnan(numbers)]
    distinct, counts = _distinct(known)
    return _ranked(
        list(zip(distinct.tolist(), counts.tolist(), strict=True)),
        is_text=False,
        missing_count=len(numbers) - len(known),
    )


def _distinct(numbers: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    if len(numbers) and np.isfinite(numbers).all():
        low, high = float(numbers.min()), float(numbers.max())
        if high - low < _COUNT_RANGE and low == int(low):
            offsets = (numbers - low).astype(np.int64)
            if (offsets + low == numbers).all():
                counts = np.bincount(offsets)
                found = np.flatnonzero(counts)
                return (found + low).astype(np.float64), counts[found]
    distinct, counts = np.unique(numbers, return_counts=True)
    return distinct.astype(np.float64), counts.astype(np.int64)


def _texts(values: TextValues, mask: Mask) -> Counted:
    counts = np.bincount(values.codes[mask], minlength=len(values.categories))
    total: dict[str | float, int] = {}
    for code in np.flatnonzero(counts).tolist():
        text = values.categories[code]
        total[text] = total.get(text, 0) + int(counts[code])
    missing_count = total.pop("", 0)
    return _ranked(list(total.items()), is_text=True, missing_count=missing_count)


def _ranked(found: list[tuple[str | float, int]], *, is_text: bool, missing_count: int) -> Counted:
    ranked = sorted(found, key=lambda item: (-item[1], item[0]))[:MAX_VALUES]
    return Counted(is_text, ranked, len(found), missing_count)


def default_facets(frame: Frame) -> list[str]:
    """`split` and the metadata columns that have few values."""
    return ["split", *(name for name in sorted(frame.catalog.metadata) if _few(frame.column(name)))]


def _few(values: Values) -> bool:
    if isinstance(values, TextValues):
        # One category is the empty text.
        return len(values.categories) <= MAX_VALUES + 1
    seen = np.unique(values[:_LOOK_ROWS])
    return len(seen) <= MAX_VALUES


def class_name(catalog: Catalog, value: float) -> str:
    """What every split that names its classes calls class `value`; empty when they differ or none does."""
    if value != int(value) or value < 0:
        return ""
    index = int(value)
    found = {
        split.class_names[index] if index < len(split.class_names) else ""
        for split in catalog.splits
        if split.class_names
    }
    return found.pop() if len(found) == 1 else ""


def facet_columns(frame: Frame, wanted: list[str]) -> list[str]:
    """The columns to count. Raises InvalidArgument for a column that is not there, or too many of them."""
    if len(wanted) > 64:
        raise InvalidArgument(f"at most 64 columns can be counted at once, {len(wanted)} were asked for")
    return [frame.resolve(name) for name in wanted] if wanted else default_facets(frame)
