"""Length-prefixed messages: one byte of flags, four bytes of length, most significant first, then the message.

https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#requests
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from weightslab_common.errors import InvalidArgument, ResourceExhausted

HEADER_BYTES = 5
COMPRESSED_FLAG = 0x01
TRAILER_FLAG = 0x80

_HEADER = struct.Struct(">BI")


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame as it was read."""

    flags: int
    payload: bytes

    @property
    def compressed(self) -> bool:
        return bool(self.flags & COMPRESSED_FLAG)


def encode_frame(payload: bytes, *, flags: int = 0) -> bytes:
    """The frame that carries `payload`."""
    return _HEADER.pack(flags, len(payload)) + payload


def parse_header(header: bytes | bytearray, *, max_bytes: int) -> tuple[int, int]:
    """Flags and length that a frame's header announces.

    Raises InvalidArgument for flags that a request may not have, ResourceExhausted for a message above `max_bytes`.
    """
    flags, length = _HEADER.unpack(header)
    if flags & ~COMPRESSED_FLAG:
        raise InvalidArgument(f"a request frame has the flags 0x{flags:02x}; only 0x00 and 0x01 (compressed) are known")
    if length > max_bytes:
        raise ResourceExhausted(f"the message has {length} bytes and at most {max_bytes} are taken; send less at once")
    return flags, length


class FrameReader:
    """Cuts a body into frames as it arrives. Never holds more than one message of the greatest size and one chunk."""

    def __init__(self, *, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes. Raises what `parse_header` raises, as soon as a header is there."""
        self._buffer += data
        frames = []
        start = 0
        while len(self._buffer) - start >= HEADER_BYTES:
            flags, length = parse_header(self._buffer[start : start + HEADER_BYTES], max_bytes=self._max_bytes)
            end = start + HEADER_BYTES + length
            if len(self._buffer) < end:
                break
            frames.append(Frame(flags, bytes(self._buffer[start + HEADER_BYTES : end])))
            start = end
        del self._buffer[:start]
        return frames

    def finish(self) -> None:
        """Say that the body has ended. Raises InvalidArgument when it ended within a frame."""
        if self._buffer:
            raise InvalidArgument(f"the request ends within a frame, {len(self._buffer)} bytes after its beginning")
