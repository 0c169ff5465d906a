"""Rows and texts as compact bytes, for the store."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from weightslab_common.columns import F64, U32

Rows = NDArray[np.uint32]

_DELTAS, _BITS = b"D", b"B"


def pack_row_set(rows: Rows) -> bytes:
    """Return strictly increasing `rows` (uint32) compactly: as deltas or as bits, whichever is shorter, deflated."""
    if not len(rows):
        return b""
    span = int(rows[-1]) - int(rows[0]) + 1
    if len(rows) * 4 <= span // 8 + 8:
        raw = np.diff(rows, prepend=np.uint32(0)).astype(U32).tobytes()
        return _DELTAS + zlib.compress(raw, 1)
    mask = np.zeros(span, dtype=bool)
    mask[rows - rows[0]] = True
    return _BITS + struct.pack("<II", int(rows[0]), span) + zlib.compress(np.packbits(mask).tobytes(), 1)


def unpack_row_set(blob: bytes) -> Rows:
    """The inverse of `pack_row_set`."""
    if not blob:
        return np.empty(0, dtype=np.uint32)
    kind, body = blob[:1], blob[1:]
    if kind == _DELTAS:
        return np.asarray(np.cumsum(np.frombuffer(zlib.decompress(body), dtype=U32), dtype=np.uint32))
    first, span = struct.unpack_from("<II", body)
    mask = np.unpackbits(np.frombuffer(zlib.decompress(body[8:]), dtype=np.uint8), count=span)
    return np.asarray(np.flatnonzero(mask) + first, dtype=np.uint32)


def pack_row_list(rows: Rows) -> bytes:
    """Return `rows` (uint32, any order, deflated differences)."""
    raw = np.diff(rows.astype(np.int64), prepend=np.int64(0)).astype(U32).tobytes()
    return zlib.compress(raw, 1)


def unpack_row_list(blob: bytes) -> Rows:
    """The inverse of `pack_row_list`."""
    # Differences wrap around 2**32, and so does the sum.
    return np.asarray(np.cumsum(np.frombuffer(zlib.decompress(blob), dtype=U32), dtype=np.uint32))


def pack_texts(texts: list[str]) -> bytes:
    """Return texts (any characters) as deflated lengths and UTF-8."""
    lengths = np.fromiter(map(len, texts), dtype=U32, count=len(texts))
    return zlib.compress(struct.pack("<I", len(texts)) + lengths.tobytes() + "".join(texts).encode(), 1)


def unpack_texts(blob: bytes) -> list[str]:
    """The inverse of `pack_texts`."""
    raw = zlib.decompress(blob)
    (count,) = struct.unpack_from("<I", raw)
    lengths = np.frombuffer(raw, dtype=U32, count=count, offset=4)
    text = raw[4 + 4 * count :].decode()
    ends = np.cumsum(lengths, dtype=np.int64).tolist()
    return [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def pack_numbers(numbers: NDArray[np.float64]) -> bytes:
    """Return float64 numbers, deflated."""
    return zlib.compress(numbers.astype(F64).tobytes(), 1)


def unpack_numbers(blob: bytes) -> NDArray[np.float64]:
    """The inverse of `pack_numbers`."""
    return np.frombuffer(zlib.decompress(blob), dtype=F64)
