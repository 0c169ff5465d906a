"""Deadlines, statuses, compression and content types: the small values of both protocols."""

from __future__ import annotations

import asyncio
import base64
import gzip
import os

import pytest
from betterproto.lib.google.protobuf import Any
from grpclib.const import Status
from hypothesis import given
from hypothesis import strategies as st
from weightslab_common.errors import InvalidArgument, ResourceExhausted, Unimplemented
from weightslab_gateway.protocol import compression
from weightslab_gateway.protocol.compression import (
    MAX_INLINE_BYTES,
    MIN_COMPRESSED_BYTES,
    accepts_gzip,
    compress,
    decompress,
    reply_frame,
)
from weightslab_gateway.protocol.deadline import deadline_of, parse_timeout_secs
from weightslab_gateway.protocol.frame import Frame, encode_frame
from weightslab_gateway.protocol.metadata import request_metadata
from weightslab_gateway.protocol.status import MAX_MESSAGE_CHARACTERS, failure, status_fields
from weightslab_gateway.protocol_grpc.content_type import is_accepted
from weightslab_gateway.protocol_grpcweb.content_type import parse_content_type
from weightslab_gateway.protocol_grpcweb.trailer import encode_trailer
from weightslab_proto.google.rpc import ErrorInfo
from weightslab_proto.google.rpc import Status as RpcStatus


@pytest.mark.parametrize(
    ("value", "secs"),
    [("1H", 3600), ("2M", 120), ("3S", 3), ("250m", 0.25), ("5u", 5e-6), ("7n", 7e-9), ("99999999H", 99999999 * 3600)],
)
def test_a_timeout_is_digits_and_a_unit(value: str, secs: float) -> None:
    assert parse_timeout_secs(value) == pytest.approx(secs)


@pytest.mark.parametrize("value", ["", "S", "1", "1s", "-1S", "1.5S", "999999999S", "٣S", "1S ", "1 S", "1SS"])
def test_what_is_no_timeout_is_refused(value: str) -> None:
    with pytest.raises(InvalidArgument, match="grpc-timeout"):
        parse_timeout_secs(value)


def test_no_timeout_is_no_deadline() -> None:
    assert deadline_of(None) is None


def test_the_trailer_is_a_frame_of_lower_case_fields() -> None:
    assert encode_trailer([("Grpc-Status", "5"), ("grpc-message", "no")]) == (
        b"\x80\x00\x00\x00\x22grpc-status: 5\r\ngrpc-message: no\r\n"
    )


@given(st.text(max_size=200))
def test_any_message_becomes_printable_ascii_and_carries_details(message: str) -> None:
    fields = dict(status_fields(failure(Status.NOT_FOUND, message, request_id="r1")))
    assert fields["grpc-status"] == "5"
    assert fields.get("grpc-message", "").isascii()
    assert fields.get("grpc-message", " ").isprintable()
    encoded = fields["grpc-status-details-bin"]
    status = RpcStatus().parse(base64.b64decode(encoded + "=" * (-len(encoded) % 4)))
    assert (status.code, status.message) == (5, message)
    detail: Any = status.details[0]
    info = ErrorInfo().parse(detail.value)
    assert (info.reason, info.domain, info.metadata) == ("NOT_FOUND", "weightslab", {"request_id": "r1"})


def test_a_message_that_is_too_long_is_cut() -> None:
    error = failure(Status.INTERNAL, "x" * 10_000, request_id="r")
    assert error.message is not None
    assert len(error.message) == MAX_MESSAGE_CHARACTERS


@given(st.binary(max_size=5000))
def test_gzip_comes_back(message: bytes) -> None:
    assert decompress(Frame(1, compress(message)), encoding="gzip", max_bytes=5000) == message


def test_a_gzip_bomb_is_refused() -> None:
    bomb = gzip.compress(bytes(50 * 1024**2))
    with pytest.raises(ResourceExhausted, match="more than 1000 bytes"):
        decompress(Frame(1, bomb), encoding="gzip", max_bytes=1000)


@pytest.mark.parametrize("payload", [b"", b"nonsense", gzip.compress(b"x" * 100, mtime=0)[:-9]])
def test_what_is_no_gzip_is_refused(payload: bytes) -> None:
    with pytest.raises(InvalidArgument, match="compressed message"):
        decompress(Frame(1, payload), encoding="gzip", max_bytes=1000)


def test_another_encoding_is_unimplemented() -> None:
    with pytest.raises(Unimplemented, match="snappy"):
        decompress(Frame(1, b"x"), encoding="snappy", max_bytes=10)


LETTERS = b"".join(b"sample %d of many; " % number for number in range(10_000))


@pytest.mark.parametrize("size_bytes", [MIN_COMPRESSED_BYTES, MAX_INLINE_BYTES, MAX_INLINE_BYTES + 1])
async def test_a_reply_that_shrinks_is_compressed_for_who_takes_that(size_bytes: int) -> None:
    message = LETTERS[:size_bytes]
    frame = await reply_frame(message, gzip_taken=True)
    assert frame[0] == 1
    assert len(frame) < size_bytes / 2
    assert gzip.decompress(frame[5:]) == message
    assert await reply_frame(message, gzip_taken=False) == encode_frame(message)


async def test_a_reply_that_is_short_or_does_not_shrink_goes_as_it_is() -> None:
    for message in (LETTERS[: MIN_COMPRESSED_BYTES - 1], os.urandom(MAX_INLINE_BYTES), os.urandom(1_000_000)):
        assert await reply_frame(message, gzip_taken=True) == encode_frame(message)


async def test_what_begins_well_and_is_not_smaller_in_all_goes_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    message = os.urandom(300_000)
    monkeypatch.setattr(compression, "WORTH_RATIO", 2.0)
    assert await reply_frame(message, gzip_taken=True) == encode_frame(message)


async def test_other_calls_go_on_while_a_long_reply_is_compressed() -> None:
    compressing = asyncio.create_task(reply_frame(LETTERS * 20, gzip_taken=True))
    turns = 0
    while not compressing.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 10


def test_gzip_is_used_only_when_it_is_named() -> None:
    assert accepts_gzip("identity, gzip,deflate")
    assert not accepts_gzip("")
    assert not accepts_gzip("gzipped")


@pytest.mark.parametrize(
    "value", ["application/grpc-web", "application/grpc-web+proto", "Application/GRPC-Web+Proto; a=b"]
)
def test_binary_is_known(value: str) -> None:
    content_type = parse_content_type(value)
    assert content_type is not None
    assert not content_type.text


@pytest.mark.parametrize("value", ["application/grpc-web-text", "application/grpc-web-text+proto"])
def test_text_is_known(value: str) -> None:
    content_type = parse_content_type(value)
    assert content_type is not None
    assert content_type.text


@pytest.mark.parametrize(
    "value",
    ["", "application/json", "application/grpc", "application/grpc-web+json", "text/plain", "application/grpc-webx"],
)
def test_other_content_types_are_no_grpc_web(value: str) -> None:
    assert parse_content_type(value) is None


def test_grpc_takes_protobuf_only() -> None:
    assert is_accepted("application/grpc")
    assert is_accepted("application/grpc+proto")
    assert not is_accepted("application/grpc+json")
    assert not is_accepted("application/grpc-web")


def test_metadata_is_what_is_not_the_transports() -> None:
    headers = [(":path", "/x"), ("te", "trailers"), ("grpc-timeout", "1S"), ("authorization", "Bearer x"), ("a", "b")]
    assert request_metadata(headers) == {"authorization": "Bearer x", "a": "b"}
