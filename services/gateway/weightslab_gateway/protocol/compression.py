"""gzip of messages, with a bound on what comes out."""

from __future__ import annotations

import asyncio
import functools
import gzip
import zlib

from weightslab_common.errors import InvalidArgument, ResourceExhausted, Unimplemented

from weightslab_gateway.protocol.frame import COMPRESSED_FLAG, Frame, encode_frame

GZIP = "gzip"
# Told to callers so that they know what they may send.
ACCEPTED_ENCODINGS = "identity,gzip"
# Smaller messages do not gain from it.
MIN_COMPRESSED_BYTES = 1024
# More than this takes a millisecond or so, in which other calls would wait.
MAX_INLINE_BYTES = 64 * 1024
# What two pieces of a large message say of all of it: columns of floats hardly shrink, and cost the most time.
PIECE_BYTES = 2048
WORTH_RATIO = 0.8


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


# Viewers that stand at the same place get the same message.
_compress_once = functools.lru_cache(maxsize=32)(compress)


async def reply_frame(message: bytes, *, gzip_taken: bool) -> bytes:
    """The frame of a reply: compressed for who takes that, where it is smaller by it and worth the time."""
    if not gzip_taken or len(message) < MIN_COMPRESSED_BYTES:
        return encode_frame(message)
    if len(message) <= MAX_INLINE_BYTES:
        compressed = _compress_once(message)
    elif _is_worth(message):
        compressed = await asyncio.to_thread(compress, message)
    else:
        return encode_frame(message)
    if len(compressed) >= len(message):
        return encode_frame(message)
    return encode_frame(compressed, flags=COMPRESSED_FLAG)


def _is_worth(message: bytes) -> bool:
    middle = len(message) // 2
    pieces = message[:PIECE_BYTES] + message[middle : middle + PIECE_BYTES]
    return len(compress(pieces)) <= WORTH_RATIO * len(pieces)


def accepts_gzip(accepted: str) -> bool:
    """Whether a `grpc-accept-encoding` header names gzip."""
    return GZIP in (name.strip() for name in accepted.split(","))
