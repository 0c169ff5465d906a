"""The order of samples: by several keys, missing values last either way, ties by row."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weightslab_ledger.blobs import Rows
from weightslab_ledger.frame import Values
from weightslab_ledger.metadata import TextValues

# A page that ends before this is cut out of the keys without sorting the rest.
_PREFIX = 4096


def natural_key(text: str) -> tuple[int, int, str]:
    """Orders whole numbers by value and before other texts; the empty text, which says nothing, last."""
    if text.isascii() and text.isdigit():
        return 0, int(text), text
    return (1 if text else 2), 0, text


def sort_key(values: Values, rows: Rows, *, descending: bool) -> NDArray[Any]:
    """One unsigned number per row whose increasing order is the order wanted: uint64 for float64, else uint32."""
    if isinstance(values, TextValues):
        return _text_key(values, rows, descending=descending)
    numbers = values[rows] if len(rows) < len(values) else values
    if numbers.dtype == np.float32:
        return _float_key(numbers, np.uint32, descending=descending)
    return _float_key(numbers.astype(np.float64), np.uint64, descending=descending)


def _float_key(numbers: NDArray[Any], unsigned: Any, *, descending: bool) -> NDArray[Any]:
    """The bits of floats, made to increase with them: negative ones are inverted, positive ones get the top bit."""
    # Adding zero makes -0.0 equal to 0.0.
    bits = (numbers + numbers.dtype.type(0)).view(unsigned)
    width = bits.dtype.itemsize * 8
    top = unsigned(1 << (width - 1))
    # An arithmetic shift makes a word of ones of a sign that is set.
    signs = (bits.view(np.dtype(f"i{bits.itemsize}")) >> (width - 1)).view(unsigned)
    key = bits ^ (signs | top)
    if descending:
        np.invert(key, out=key)
    key[np.isnan(numbers)] = ~unsigned(0)
    return np.asarray(key)


def _text_key(values: TextValues, rows: Rows, *, descending: bool) -> NDArray[np.uint32]:
    order = sorted(range(len(values.categories)), key=lambda code: natural_key(values.categories[code]))
    ranks = np.zeros(len(values.categories), dtype=np.uint32)
    rank, last = 0, None
    for code in order:
        # Equal texts tie, as uids of two splits do.
        if values.categories[code] != last:
            rank, last = rank + 1, values.categories[code]
        ranks[code] = rank
    if descending:
        ranks = rank + 1 - ranks
    if "" in values.categories:
        ranks[values.categories.index("")] = rank + 1
    return np.asarray(ranks[values.codes[rows]])


@dataclass(slots=True)
class Order:
    """Rows in an order that is worked out as far as it is asked for, from keys that do not change any more."""

    rows: Rows
    # uint32 per row, while `rows` is still in its own order; emptied once all is sorted.
    _keys: NDArray[np.uint32] | None = None
    _prefix: Rows = field(default_factory=lambda: np.empty(0, dtype=np.uint32))

    @property
    def size_bytes(self) -> int:
        return self.rows.nbytes + self._prefix.nbytes + (self._keys.nbytes if self._keys is not None else 0)

    def page(self, offset: int, limit: int) -> Rows:
        """The rows from `offset` on, at most `limit`."""
        end = offset + limit
        if self._keys is None:
            return self.rows[offset:end]
        if end > _PREFIX or len(self.rows) <= 2 * _PREFIX:
            self.rows = np.sort(_packed(self._keys, self.rows)).astype(np.uint32)
            self._keys = None
            return self.rows[offset:end]
        if not len(self._prefix):
            border = np.partition(self._keys, _PREFIX)[_PREFIX]
            candidates = np.flatnonzero(self._keys <= border)
            packed = _packed(self._keys[candidates], self.rows[candidates])
            # Very many may tie with the border.
            self._prefix = np.sort(np.partition(packed, _PREFIX)[:_PREFIX]).astype(np.uint32)
        return self._prefix[offset:end]


def _packed(keys: NDArray[np.uint32], rows: Rows) -> NDArray[np.uint64]:
    """One number per row that orders by key, then by row."""
    return np.asarray(keys.astype(np.uint64) << np.uint64(32) | rows.astype(np.uint64))


def order_rows(rows: Rows, keys: list[tuple[Values, bool]]) -> Order:
    """Order increasing `rows` by `keys`, each a column and whether it descends."""
    if not keys:
        return Order(rows)
    numbers = [sort_key(values, rows, descending=descending) for values, descending in keys]
    if len(keys) == 1 and numbers[0].dtype == np.uint32:
        return Order(rows, numbers[0])
    # lexsort takes its most important key last, and is stable, so ties stay by row.
    return Order(rows[np.lexsort(numbers[::-1])])
