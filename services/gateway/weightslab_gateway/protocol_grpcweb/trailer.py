"""Trailers of gRPC-Web: a frame with the flag 0x80 whose payload is a header block with lower-case names."""

from __future__ import annotations

from collections.abc import Iterable

from weightslab_gateway.protocol.frame import TRAILER_FLAG, encode_frame


def encode_trailer(fields: Iterable[tuple[str, str]]) -> bytes:
    """The frame that ends a response. Names and values are printable ASCII."""
    block = "".join(f"{name.lower()}: {value}\r\n" for name, value in fields)
    return encode_frame(block.encode("ascii"), flags=TRAILER_FLAG)
