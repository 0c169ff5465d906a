"""A whole gRPC-Web request: its path, its header fields and its body, in pieces of any size, binary and text.

The bytes are lines of header fields (`name: value`), an empty line, and the body; the first byte says how the body is
cut. Whatever they are, the answer is a refusal by its HTTP status, or whole frames of which the last is the only
trailer; and a request never becomes a message above the limit.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import struct
from collections.abc import MutableMapping
from typing import Any

from grpclib.const import Cardinality, Handler
from weightslab_gateway.protocol.call import Limits
from weightslab_gateway.protocol.frame import encode_frame
from weightslab_gateway.protocol_grpcweb.handler import GrpcWeb
from weightslab_proto.weightslab.v1 import QuerySamplesRequest

_LOOP = asyncio.new_event_loop()
PATH = "/weightslab.v1.SampleService/QuerySamples"
MAX_MESSAGE_BYTES = 2048
_FIELDS = {"content-type": "application/grpc-web+proto"}


async def _echo(call: Any) -> None:
    message = await call.recv_message()
    # What the decoder makes of it is sent back, so that it is encoded, too.
    await call.send_message(message)


_WEB = GrpcWeb(
    {PATH: Handler(_echo, Cardinality.UNARY_UNARY, QuerySamplesRequest, QuerySamplesRequest)},
    limits=Limits(max_message_bytes=MAX_MESSAGE_BYTES),
)


def _request(data: bytes) -> tuple[list[tuple[bytes, bytes]], list[bytes]]:
    """Header fields, and the pieces of the body."""
    head, _, body = data[1:].partition(b"\n\n")
    fields = {name.encode(): value.encode() for name, value in _FIELDS.items()}
    for line in head.split(b"\n"):
        name, mark, value = line.partition(b": ")
        if mark:
            fields[name.lower()] = value
    size = data[0] + 1 if data else 1
    return list(fields.items()), [body[start : start + size] for start in range(0, len(body), size)] or [b""]


def attack(data: bytes) -> None:
    fields, pieces = _request(data)
    events: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        if pieces:
            return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}
        await asyncio.Event().wait()
        raise AssertionError

    async def send(event: MutableMapping[str, Any]) -> None:
        events.append(event)

    scope = {"type": "http", "method": "POST", "path": PATH, "headers": fields, "client": ("127.0.0.1", 1)}
    _LOOP.run_until_complete(_WEB(scope, receive, send))
    _check(events, dict(fields))


def _check(events: list[MutableMapping[str, Any]], asked: dict[bytes, bytes]) -> None:
    start, *bodies = events
    answer = b"".join(event["body"] for event in bodies)
    assert bodies[-1]["more_body"] is False
    if start["status"] == 415:
        assert not answer
        return
    assert start["status"] == 200, start
    if b"text" in dict(start["headers"])[b"content-type"]:
        answer = b"".join(base64.b64decode(event["body"]) for event in bodies)
    trailers = 0
    while answer:
        assert not trailers, "something follows the trailer"
        flags, length = struct.unpack(">BI", answer[:5])
        payload, answer = answer[5 : 5 + length], answer[5 + length :]
        assert len(payload) == length
        trailers += flags == 0x80
        if flags == 0x80:
            assert payload.startswith(b"grpc-status: "), payload
            assert payload.isascii()
            # A fault of ours would be INTERNAL or UNKNOWN.
            assert payload.split(b"\r\n")[0] not in (b"grpc-status: 13", b"grpc-status: 2"), payload
    assert trailers == 1


def seeds() -> list[bytes]:
    message = bytes(QuerySamplesRequest(experiment="digits", filter="loss > 2 and tag('日本')", offset=3, limit=64))
    text = b"content-type: application/grpc-web-text+proto\n"
    packed = b"grpc-encoding: gzip\ngrpc-accept-encoding: gzip\n"
    bomb = gzip.compress(bytes(64 * MAX_MESSAGE_BYTES))
    return [
        b"\xff\n\n" + encode_frame(message),
        b"\x00\n\n" + encode_frame(message),
        b"\x03" + text + b"\n" + base64.b64encode(encode_frame(message)),
        # Padded in the middle.
        b"\x03"
        + text
        + b"\n"
        + base64.b64encode(encode_frame(message)[:4])
        + base64.b64encode(encode_frame(message)[4:]),
        b"\xff" + packed + b"\n" + encode_frame(gzip.compress(message, mtime=0), flags=1),
        b"\xff" + packed + b"\n" + encode_frame(bomb, flags=1),
        b"\xffgrpc-timeout: 99999999n\nx-request-id: a b\n\n" + encode_frame(message),
        b"\xffcontent-type: text/plain\n\n" + encode_frame(message),
        b"\xff\n\n" + encode_frame(message) * 2,
        b"\xff\n\n" + struct.pack(">BI", 0, 2**32 - 1),
        b"\xff\n\n" + encode_frame(message, flags=0x80),
    ]
