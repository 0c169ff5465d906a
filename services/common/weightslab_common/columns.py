"""Numbers and bits as little-endian bytes, the way they travel on the bus and in the public API."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from weightslab_common.errors import InvalidArgument

U8 = np.dtype("u1")
U32 = np.dtype("<u4")
I64 = np.dtype("<i8")
F32 = np.dtype("<f4")
F64 = np.dtype("<f8")


def pack(values: ArrayLike, dtype: np.dtype[Any]) -> bytes:
    """Return `values` as contiguous bytes of `dtype`."""
    return np.ascontiguousarray(values, dtype=dtype).tobytes()


def unpack(column: bytes, dtype: np.dtype[Any], *, count: int | None = None, name: str = "column") -> NDArray[Any]:
    """Return a read-only view of `column` as `dtype`.

    Raises InvalidArgument when the length is no multiple of the item size or differs from `count` items.
    """
    if len(column) % dtype.itemsize:
        raise InvalidArgument(f"{name}: {len(column)} bytes are no whole number of {dtype.name} values")
    values = np.frombuffer(column, dtype=dtype)
    if count is not None and len(values) != count:
        raise InvalidArgument(f"{name}: {len(values)} values where {count} were expected")
    return values


def pack_bits(mask: NDArray[np.bool_]) -> bytes:
    """Return a boolean array as bits, most significant first (the bit order of a Redis bitmap)."""
    return np.packbits(mask).tobytes()


def unpack_bits(bits: bytes, *, count: int, name: str = "bits") -> NDArray[np.bool_]:
    """Return `count` booleans; bits that were never written are false, as in Redis.

    Raises InvalidArgument when a bit beyond `count` is set.
    """
    raw = np.frombuffer(bits, dtype=U8)
    flags = np.unpackbits(raw).astype(bool)
    if flags[count:].any():
        raise InvalidArgument(f"{name}: a bit beyond the {count} expected ones is set")
    if len(flags) < count:
        flags = np.concatenate([flags, np.zeros(count - len(flags), dtype=bool)])
    return flags[:count]
