"""Frames as bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from weightslab_common.errors import InvalidArgument, ResourceExhausted, WeightsLabError
from weightslab_gateway.protocol.frame import Frame, FrameReader, encode_frame


def test_a_frame_is_flags_and_length_and_message() -> None:
    assert encode_frame(b"abc") == b"\x00\x00\x00\x00\x03abc"
    assert encode_frame(b"", flags=0x80) == b"\x80\x00\x00\x00\x00"


def test_an_empty_message_is_a_frame() -> None:
    assert FrameReader(max_bytes=10).feed(b"\0\0\0\0\0") == [Frame(0, b"")]


@given(st.lists(st.binary(max_size=50), max_size=8), st.data())
def test_frames_come_out_as_they_went_in_however_they_are_cut(messages: list[bytes], data: st.DataObject) -> None:
    body = b"".join(encode_frame(message) for message in messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=10)))
    reader = FrameReader(max_bytes=50)
    read = [
        frame.payload
        for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)
        for frame in reader.feed(body[start:end])
    ]
    reader.finish()
    assert read == messages


@given(st.binary(min_size=1, max_size=30), st.data())
def test_a_cut_off_frame_is_refused(message: bytes, data: st.DataObject) -> None:
    frame = encode_frame(message)
    reader = FrameReader(max_bytes=30)
    assert reader.feed(frame[: data.draw(st.integers(1, len(frame) - 1))]) == []
    with pytest.raises(InvalidArgument, match="within a frame"):
        reader.finish()


@given(st.binary(max_size=200))
def test_any_bytes_give_frames_or_a_clear_error(body: bytes) -> None:
    reader = FrameReader(max_bytes=40)
    try:
        frames = reader.feed(body)
        reader.finish()
    except WeightsLabError as error:
        assert error.message
    else:
        assert b"".join(encode_frame(frame.payload, flags=frame.flags) for frame in frames) == body


def test_a_message_that_is_too_large_is_refused_by_its_header_alone() -> None:
    with pytest.raises(ResourceExhausted, match="4294967295 bytes and at most 100"):
        FrameReader(max_bytes=100).feed(b"\x00\xff\xff\xff\xff")


@pytest.mark.parametrize("flags", [0x02, 0x40, 0x80, 0x81, 0xFF])
def test_flags_that_a_request_cannot_have_are_refused(flags: int) -> None:
    with pytest.raises(InvalidArgument, match=f"0x{flags:02x}"):
        FrameReader(max_bytes=10).feed(bytes([flags, 0, 0, 0, 0]))
