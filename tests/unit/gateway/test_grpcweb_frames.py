"""The translator, without a socket: the exact events that an ASGI server sees."""

from __future__ import annotations

import asyncio
import base64
import gzip
from collections.abc import MutableMapping
from typing import Any

import pytest
from grpclib import GRPCError
from grpclib.const import Cardinality, Handler, Status
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from weightslab_gateway.protocol.call import Limits
from weightslab_gateway.protocol.frame import encode_frame
from weightslab_gateway.protocol_grpcweb.handler import GrpcWeb
from weightslab_proto.weightslab.v1 import SampleRef

BINARY = "application/grpc-web+proto"
TEXT = "application/grpc-web-text+proto"
OK = b"\x80\x00\x00\x00\x10grpc-status: 0\r\n"
HEADERS = [
    (b"content-type", BINARY.encode()),
    (b"cache-control", b"no-store"),
    (b"grpc-accept-encoding", b"identity,gzip"),
]
Event = MutableMapping[str, Any]


async def _echo(call: Any) -> None:
    await call.send_message(await call.recv_message())


async def _count(call: Any) -> None:
    request = await call.recv_message()
    for number in range(3):
        await call.send_message(SampleRef(split=request.split, uid=str(number)))
    raise GRPCError(Status.ABORTED, "genug: ä%")


async def _wait(call: Any) -> None:
    await call.recv_message()
    await call.send_message(SampleRef(uid="first"))
    await asyncio.Event().wait()


def _method(func: Any, cardinality: Cardinality) -> Handler:
    return Handler(func, cardinality, SampleRef, SampleRef)


MAPPING = {
    "/t.T/Echo": _method(_echo, Cardinality.UNARY_UNARY),
    "/t.T/Count": _method(_count, Cardinality.UNARY_STREAM),
    "/t.T/Wait": _method(_wait, Cardinality.UNARY_STREAM),
    "/t.T/Chat": _method(_echo, Cardinality.STREAM_STREAM),
}


class Exchange:
    """One request given in chunks, and the events that came of it."""

    def __init__(self, *chunks: bytes) -> None:
        self._chunks = list(chunks)
        self.events: list[Event] = []
        self.answered = asyncio.Event()
        self.leave = asyncio.Event()

    async def receive(self) -> Event:
        if self._chunks:
            body = self._chunks.pop(0)
            return {"type": "http.request", "body": body, "more_body": bool(self._chunks)}
        await self.leave.wait()
        return {"type": "http.disconnect"}

    async def send(self, event: Event) -> None:
        self.events.append(event)
        if len(self.events) == 2:
            self.answered.set()

    async def run(self, path: str, *, method: str = "POST", max_bytes: int = 1000, **headers: str) -> list[Event]:
        sent = {"content-type": BINARY, **{name.replace("_", "-"): value for name, value in headers.items()}}
        scope: Event = {
            "type": "http",
            "method": method,
            "path": path,
            "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
            "client": ("127.0.0.1", 1),
        }
        async with asyncio.timeout(5):
            await GrpcWeb(MAPPING, limits=Limits(max_message_bytes=max_bytes))(scope, self.receive, self.send)
        return self.events


def _body(data: bytes, *, more: bool = True) -> Event:
    return {"type": "http.response.body", "body": data, "more_body": more}


def _joined(events: list[Event]) -> bytes:
    return b"".join(event.get("body", b"") for event in events)


async def test_a_unary_call_is_headers_then_message_then_trailers() -> None:
    message = bytes(SampleRef(split="train", uid="日本"))
    assert await Exchange(encode_frame(message)).run("/t.T/Echo") == [
        {"type": "http.response.start", "status": 200, "headers": HEADERS},
        _body(encode_frame(message)),
        _body(OK, more=False),
    ]


async def test_an_empty_message_is_a_message() -> None:
    events = await Exchange(encode_frame(b"")).run("/t.T/Echo")
    assert events[1:] == [_body(b"\0\0\0\0\0"), _body(OK, more=False)]


async def test_a_body_may_come_byte_by_byte() -> None:
    message = encode_frame(bytes(SampleRef(uid="abc")))
    events = await Exchange(*(bytes([byte]) for byte in message), b"").run("/t.T/Echo")
    assert events[1] == _body(message)


async def test_text_is_base64_of_each_frame_on_its_own() -> None:
    message = encode_frame(bytes(SampleRef(uid="abc")))
    events = await Exchange(base64.b64encode(message)).run("/t.T/Echo", content_type=TEXT)
    assert dict(events[0]["headers"])[b"content-type"] == TEXT.encode()
    assert events[1:] == [_body(base64.b64encode(message)), _body(base64.b64encode(OK), more=False)]


async def test_a_stream_goes_out_message_by_message_and_ends_with_its_error() -> None:
    events = await Exchange(encode_frame(bytes(SampleRef(split="s")))).run("/t.T/Count")
    expected = [_body(encode_frame(bytes(SampleRef(split="s", uid=str(number))))) for number in range(3)]
    assert events[1:4] == expected
    assert events[4] == _body(
        encode_frame(b"grpc-status: 10\r\ngrpc-message: genug: %C3%A4%25\r\n", flags=0x80), more=False
    )


async def test_an_unknown_method_is_a_trailer_only() -> None:
    events = await Exchange(encode_frame(b"")).run("/t.T/Nothing")
    assert events[0]["status"] == 200
    assert b"grpc-status: 12\r\n" in events[1]["body"]
    assert len(events) == 2


async def test_streams_from_the_client_are_unimplemented() -> None:
    assert b"grpc-status: 12\r\n" in _joined(await Exchange(encode_frame(b"")).run("/t.T/Chat"))


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD"])
async def test_other_methods_are_refused_unread(method: str) -> None:
    exchange = Exchange(b"x")
    events = await exchange.run("/t.T/Echo", method=method)
    assert events[0]["status"] == 405
    assert (b"allow", b"POST, OPTIONS") in events[0]["headers"]
    assert exchange._chunks == [b"x"]


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/grpc", "multipart/form-data"])
async def test_other_content_types_are_refused_unread(content_type: str) -> None:
    exchange = Exchange(b"x")
    events = await exchange.run("/t.T/Echo", content_type=content_type)
    assert events[0]["status"] == 415
    assert exchange._chunks == [b"x"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 3),
        (b"\0\0\0", 3),
        (encode_frame(b"abc")[:-1], 3),
        (encode_frame(b"") + encode_frame(b""), 3),
        (encode_frame(b"\xff\xff\xff"), 3),
        (b"\x80\0\0\0\0", 3),
        (b"\0\0\0\x04\x01" + b"x" * 1025, 8),
        (b"\x01\0\0\0\x01x", 12),
    ],
)
async def test_a_malformed_body_is_a_clear_status(body: bytes, status: int) -> None:
    events = await Exchange(body).run("/t.T/Echo", max_bytes=1024)
    assert f"grpc-status: {status}\r\n".encode() in _joined(events)
    assert b"grpc-message: " in _joined(events)


async def test_an_oversized_body_is_refused_and_not_kept() -> None:
    chunks = [b"\0\xff\xff\xff\xff"] + [bytes(65536)] * 100
    exchange = Exchange(*chunks)
    assert b"grpc-status: 8\r\n" in _joined(await exchange.run("/t.T/Echo"))
    assert exchange._chunks == [], "the rest is read, so that the caller gets to read the answer"


async def test_a_bad_timeout_is_refused() -> None:
    assert b"grpc-status: 3\r\n" in _joined(await Exchange(encode_frame(b"")).run("/t.T/Echo", grpc_timeout="soon"))


async def test_gzip_is_understood_and_offered() -> None:
    message = bytes(SampleRef(uid="x" * 5000))
    request = encode_frame(gzip.compress(message), flags=1)
    events = await Exchange(request).run(
        "/t.T/Echo", max_bytes=10_000, grpc_encoding="gzip", grpc_accept_encoding="gzip"
    )
    assert (b"grpc-encoding", b"gzip") in events[0]["headers"]
    reply = events[1]["body"]
    assert reply[0] == 1
    assert gzip.decompress(reply[5:]) == message


async def test_a_caller_that_leaves_ends_the_call() -> None:
    exchange = Exchange(encode_frame(b""))
    running = asyncio.create_task(exchange.run("/t.T/Wait"))
    async with asyncio.timeout(5):
        await exchange.answered.wait()
    exchange.leave.set()
    await running
    assert len(exchange.events) == 2, "nothing is said to somebody who has left"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=40), min_size=1, max_size=6), st.sampled_from([BINARY, TEXT]))
def test_any_body_ends_in_one_trailer(chunks: list[bytes], content_type: str) -> None:
    events = asyncio.run(Exchange(*chunks).run("/t.T/Echo", content_type=content_type))
    assert events[0]["status"] == 200
    assert events[-1]["more_body"] is False
    last = events[-1]["body"]
    last = base64.b64decode(last) if content_type == TEXT else last
    assert last[0] == 0x80
    assert last.count(b"grpc-status: ") == 1
