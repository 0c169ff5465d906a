"""The outermost layer of a protobuf message: https://protobuf.dev/programming-guides/encoding/.

The decoder takes a message that is cut off, or that is no message at all, for a shorter one; so what comes from outside
is looked through first.
"""

from __future__ import annotations

from collections.abc import Iterator

from weightslab_common.errors import InvalidArgument

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_MAX_VARINT_BYTES = 10


def check_message(payload: bytes) -> None:
    """Raise InvalidArgument unless `payload` is a sequence of whole fields."""
    for _ in read_fields(payload):
        pass


def read_fields(payload: bytes) -> Iterator[tuple[int, bytes]]:
    """The number and the content of each field, as they stand. Raises InvalidArgument."""
    position, end = 0, len(payload)
    while position < end:
        tag, start = _read_varint(payload, position)
        kind = tag & 0x07
        if not tag >> 3:
            raise InvalidArgument(f"the message holds a field without a number at byte {position}")
        if kind == _VARINT:
            _, position = _read_varint(payload, start)
        elif kind == _LENGTH:
            length, start = _read_varint(payload, start)
            position = start + length
        elif kind in (_FIXED64, _FIXED32):
            position = start + (8 if kind == _FIXED64 else 4)
        else:
            raise InvalidArgument(f"the message holds a field of the unknown kind {kind} at byte {position}")
        if position > end:
            raise InvalidArgument(f"the message is cut off: its last field ends {position - end} bytes behind its end")
        yield tag >> 3, payload[start:position]


def _read_varint(payload: bytes, position: int) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(payload[position : position + _MAX_VARINT_BYTES]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, position + index + 1
    raise InvalidArgument(f"the message is cut off or malformed at byte {position}")
