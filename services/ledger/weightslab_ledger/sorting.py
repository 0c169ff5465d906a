"""The order of samples: by several keys, missing values last either way, ties by row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weightslab_ledger.arrays import stable_order
from weightslab_ledger.blobs import Rows
from weightslab_ledger.edits import Mask
from weightslab_ledger.frame import Values
from weightslab_ledger.metadata import TextValues
from weightslab_ledger.natural import EMPTY_RANK

# As many are put in order at once; the rest when a page beyond them is asked for.
_HEAD = 4096
# One of so many keys is looked at to know where the head ends about; prime, so that no period of the data meets it.
_STRIDE = 61

# uint32 or uint64, one per row.
Keys = NDArray[Any]


def sort_key(values: Values, rows: NDArray[np.int64], *, descending: bool) -> Keys:
    """One number per entry of `rows` whose increasing order is the order wanted: uint64 for float64, else uint32.

    They are a copy: the values may change meanwhile.
    """
    if isinstance(values, TextValues):
        return _text_key(values, rows, descending=descending)
    numbers = values.take(rows) if len(rows) < len(values) else values
    if numbers.dtype == np.float32:
        return _float_key(numbers, np.uint32, descending=descending)
    return _float_key(numbers.astype(np.float64, copy=False), np.uint64, descending=descending)


def _float_key(numbers: NDArray[Any], unsigned: Any, *, descending: bool) -> Keys:
    """The bits of floats, made to increase with them: negative ones are inverted, positive ones get the top bit."""
    # Adding zero makes -0.0 equal to 0.0.
    key = (numbers + numbers.dtype.type(0)).view(unsigned)
    width = key.dtype.itemsize * 8
    # An arithmetic shift makes a word of ones of a sign that is set.
    turned = (key.view(np.dtype(f"i{key.itemsize}")) >> (width - 1)).view(unsigned)
    turned |= unsigned(1 << (width - 1))
    if descending:
        np.invert(turned, out=turned)
    key ^= turned
    key[np.isnan(numbers)] = ~unsigned(0)
    return np.asarray(key)


def _text_key(values: TextValues, rows: NDArray[np.int64], *, descending: bool) -> Keys:
    # Equal texts tie, as uids of two splits do.
    ranks = values.ranks.of(values.categories)[values.codes[rows]]
    last = np.uint32(len(values.categories) + 1)
    return np.where(ranks == EMPTY_RANK, last, last - ranks if descending else ranks)


@dataclass(slots=True)
class Order:
    """Rows in an order of which the rest is worked out when it is asked for, from keys that do not change any more."""

    count: int
    # The rows it begins with; all of them when they are few.
    _head: Rows
    # Which rows they are, as bits, and their keys in the order of rows: what the rest is made of.
    _members: NDArray[np.uint8]
    _keys: list[Keys]
    _whole: Rows | None = None

    @property
    def size_bytes(self) -> int:
        whole = 0 if self._whole is None else self._whole.nbytes
        return self._head.nbytes + self._members.nbytes + sum(key.nbytes for key in self._keys) + whole

    def page(self, offset: int, limit: int) -> Rows:
        """The rows from `offset` on, at most `limit`."""
        end = offset + limit
        if end <= len(self._head) or len(self._head) == self.count:
            return self._head[offset:end]
        if self._whole is None:
            rows = np.flatnonzero(np.unpackbits(self._members))
            self._whole = (rows[_sorted(self._keys)] if self._keys else rows).astype(np.uint32)
            self._keys = []
        return self._whole[offset:end]


def _sorted(keys: list[Keys]) -> NDArray[np.int64]:
    """The indices in the order of the keys; what ties in all of them in the order it is in."""
    if len(keys) == 1 and keys[0].dtype == np.uint32:
        return stable_order(keys[0])
    # lexsort takes its most important key last, and is stable.
    return np.lexsort(keys[::-1])


def _first(keys: list[Keys], count: int) -> NDArray[np.int64]:
    """The indices of the `count` that `_sorted` begins with, of more; those that tie in all keys are increasing."""
    key, *others = keys
    near = _near(key, count)
    border = np.partition(key[near], count - 1)[count - 1]
    before, tied = near[key[near] < border], near[key[near] == border]
    missing = count - len(before)
    if others and missing < len(tied):
        tied = tied[_first([other[tied] for other in others], missing)]
    return np.concatenate([before, tied[:missing]])


def _near(key: Keys, count: int) -> NDArray[np.int64]:
    """Increasing indices of all keys up to some border: at least `count`, and most likely not many more.

    A sample says where the border must lie about, since to find it exactly takes many times longer.
    """
    sample = key[::_STRIDE]
    at = 2 * count // _STRIDE
    if at < len(sample):
        near = np.flatnonzero(key <= np.partition(sample, at)[at])
        if len(near) >= count:
            return near
    return np.arange(len(key))


def order_rows(matching: Mask, keys: list[tuple[Values, bool]]) -> Order:
    """Order the rows where `matching` is true by `keys`, each a column and whether it descends; ties stay by row."""
    rows = np.flatnonzero(matching)
    found = [sort_key(values, rows, descending=descending) for values, descending in keys]
    if not found:
        head = rows[:_HEAD]
    elif len(rows) <= 2 * _HEAD:
        head, found = rows[_sorted(found)], []
    else:
        first = _first(found, _HEAD)
        head = rows[first[_sorted([key[first] for key in found])]]
    return Order(len(rows), head.astype(np.uint32), np.packbits(matching), found)
