"""gzip of messages, with a bound on what comes out."""

from __future__ import annotations

import gzip
import zlib

from weightslab_common.errors import InvalidArgument, ResourceExhausted, Unimplemented

from weightslab_gateway.protocol.frame import Frame

GZIP = "gzip"
# Told to callers so that they know what they may send.
ACCEPTED_ENCODINGS = "identity,gzip"
# Smaller messages do not gain from it.
MIN_COMPRESSED_BYTES = 1024


def decompress(frame: Frame, *, encoding: str, max_bytes: int) -> bytes:
    """The message in `frame`. Raises Unimplemented for another encoding, ResourceExhausted above `max_bytes`."""
    if not frame.compressed:
        return frame.payload
    if encoding != GZIP:
        raise Unimplemented(f"messages compressed with {encoding[:40]!r} are not understood; use {ACCEPTED_ENCODINGS}")
    # 16 + MAX_WBITS: with a gzip header and checksum.
    inflater = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        message = inflater.decompress(frame.payload, max_bytes + 1)
    except zlib.error as error:
        raise InvalidArgument(f"a compressed message is no gzip: {error}") from error
    if len(message) > max_bytes:
        raise ResourceExhausted(f"a compressed message unpacks to more than {max_bytes} bytes; send less at once")
    if not inflater.eof:
        raise InvalidArgument("a compressed message is cut off")
    return message


def compress(message: bytes) -> bytes:
    """`message` as gzip; fast rather than small."""
    return gzip.compress(message, compresslevel=1, mtime=0)


def accepts_gzip(accepted: str) -> bool:
    """Whether a `grpc-accept-encoding` header names gzip."""
    return GZIP in (name.strip() for name in accepted.split(","))
