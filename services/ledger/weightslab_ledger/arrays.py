"""Arrays indexed by row that grow with the catalog."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from weightslab_ledger.blobs import Rows

# Below this numpy's own stable sort is quicker.
_FEW = 1000


def stable_order(rows: NDArray[np.uint32]) -> NDArray[np.int64]:
    """The indices that put `rows` (uint32) in increasing order, equal ones as they came.

    Sorting row and index as one number uses vector instructions, which numpy has for no stable sort.
    """
    if len(rows) < _FEW:
        return np.argsort(rows, kind="stable")
    keys = rows.astype(np.uint64) << np.uint64(32)
    keys |= np.arange(len(rows), dtype=np.uint64)
    keys.sort()
    return (keys & np.uint64(0xFFFFFFFF)).view(np.int64)


def grown(array: NDArray[Any], length: int, fill: Any) -> NDArray[Any]:
    """Return `array` itself when it has at least `length` items, else a copy with room for growth, padded by `fill`."""
    if len(array) >= length:
        return array
    bigger = new_array(max(length, len(array) * 2, 1024), array.dtype, fill)
    bigger[: len(array)] = array
    return bigger


def taken(array: NDArray[Any], rows: Rows, fill: Any) -> NDArray[Any]:
    """`array[rows]`, as if it had been grown to have them all; it is not copied for that."""
    if len(array) > rows.max(initial=0):
        return array[rows]
    found = new_array(len(rows), array.dtype, fill)
    known = rows < len(array)
    found[known] = array[rows[known]]
    return found


def count_both(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> int:
    """How many are true in both; a shorter one is false beyond its end."""
    length = min(len(one), len(other))
    return int(np.count_nonzero(one[:length] & other[:length]))


def new_array(length: int, dtype: DTypeLike, fill: Any) -> NDArray[Any]:
    """A new array full of `fill`; zeros take no memory until they are written."""
    return np.zeros(length, dtype=dtype) if not fill else np.full(length, fill, dtype=dtype)


def sized(array: NDArray[Any], length: int, fill: Any) -> NDArray[Any]:
    """Exactly the first `length` items of `array`, as if it had been grown to them."""
    return grown(array, length, fill)[:length]
