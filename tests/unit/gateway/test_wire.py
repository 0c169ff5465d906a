"""Messages are looked through before they are decoded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from weightslab_common.errors import InvalidArgument
from weightslab_gateway.protocol.wire import check_message
from weightslab_proto.weightslab.v1 import Counters, Edit, Field, SampleRef, TagCount


@given(st.text(max_size=30), st.integers(0, 2**64 - 1), st.floats(), st.lists(st.text(max_size=5), max_size=5))
def test_messages_pass(text: str, number: int, value: float, tags: list[str]) -> None:
    counters = Counters(tags=[TagCount(tag=tag, count=1) for tag in tags])
    for message in (Edit(revision=number, author=text, counters=counters), Field(name=text, number=value)):
        check_message(bytes(message))


@given(st.text(min_size=1, max_size=30), st.data())
def test_a_message_that_is_cut_off_within_a_field_is_refused(text: str, data: st.DataObject) -> None:
    message = bytes(SampleRef(uid=text))
    with pytest.raises(InvalidArgument):
        check_message(message[: data.draw(st.integers(1, len(message) - 1))])


@pytest.mark.parametrize(
    "payload", [b"\xff\xff\xff", b"\x00\x01", b"\x0b", b"\x0f", b"\x80" * 11, b"\x09\x00", b"\x0d\0\0\0"]
)
def test_what_is_no_message_is_refused(payload: bytes) -> None:
    with pytest.raises(InvalidArgument, match="the message"):
        check_message(payload)
