"""Metadata columns of the catalog: numbers, or texts kept as codes into their distinct values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from weightslab_ledger.arrays import grown, sized
from weightslab_ledger.blobs import Rows
from weightslab_ledger.natural import KnownRanks


@dataclass(frozen=True, slots=True)
class TextValues:
    """Texts by row: `codes` (uint32, one per row) into `categories`.

    `find` gives the codes of a text when that is quicker than to look through the categories, and `ranks` the order of
    the categories, where they are those of others too.
    """

    codes: NDArray[np.uint32]
    categories: list[str]
    find: Callable[[str], list[int]] | None = None
    ranks: KnownRanks = field(default_factory=KnownRanks)

    def texts(self) -> list[str]:
        """The text of each row."""
        categories = self.categories
        return [categories[code] for code in self.codes.tolist()]

    def codes_of(self, text: str) -> list[int]:
        """Every code that stands for `text`."""
        if self.find is not None:
            return self.find(text)
        return [code for code, category in enumerate(self.categories) if category == text]

    def where(self, holds: Callable[[str], bool]) -> NDArray[np.bool_]:
        """One bool per row: whether `holds` says yes to its text."""
        flags = np.fromiter(map(holds, self.categories), dtype=bool, count=len(self.categories))
        return flags[self.codes] if len(flags) else np.zeros(len(self.codes), dtype=bool)


class NumberColumn:
    """float64 by row; NaN where a row has no value."""

    def __init__(self) -> None:
        self._numbers = np.empty(0, dtype=np.float64)

    def put(self, rows: Rows, numbers: NDArray[np.float64]) -> None:
        if len(rows):
            self._numbers = grown(self._numbers, int(rows.max()) + 1, np.nan)
            self._numbers[rows] = numbers

    def values(self, row_count: int) -> NDArray[np.float64]:
        return sized(self._numbers, row_count, np.nan)


@dataclass(slots=True)
class TextColumn:
    """Texts by row; the empty text where a row has no value."""

    _codes: NDArray[np.uint32] = field(default_factory=lambda: np.empty(0, dtype=np.uint32))
    _categories: list[str] = field(default_factory=lambda: [""])
    _code_of: dict[str, int] = field(default_factory=lambda: {"": 0})
    _ranks: KnownRanks = field(default_factory=KnownRanks)

    def put(self, rows: Rows, texts: list[str]) -> None:
        if not len(rows):
            return
        self._codes = grown(self._codes, int(rows.max()) + 1, 0)
        found = map(self._code_of.get, texts)
        self._codes[rows] = [
            self._code(text) if code is None else code for text, code in zip(texts, found, strict=True)
        ]

    def _code(self, text: str) -> int:
        code = self._code_of.get(text)
        if code is None:
            code = self._code_of[text] = len(self._categories)
            self._categories.append(text)
        return code

    def values(self, row_count: int) -> TextValues:
        return TextValues(sized(self._codes, row_count, 0), self._categories, ranks=self._ranks)


def as_text(column: NumberColumn, row_count: int) -> TextColumn:
    """The same values as texts, for a column that holds numbers in one split and texts in another."""
    texts = TextColumn()
    numbers = column.values(row_count)
    rows = np.flatnonzero(~np.isnan(numbers)).astype(np.uint32)
    texts.put(rows, [f"{number:g}" for number in numbers[rows].tolist()])
    return texts
