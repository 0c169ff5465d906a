"""The base64 of grpc-web-text."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from weightslab_common.errors import InvalidArgument
from weightslab_gateway.protocol_grpcweb.text import TextReader, encode_text


@given(st.lists(st.binary(max_size=20), max_size=6), st.data())
def test_pieces_padded_on_their_own_are_read_however_they_are_cut(pieces: list[bytes], data: st.DataObject) -> None:
    body = b"".join(encode_text(piece) for piece in pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=10)))
    reader = TextReader()
    decoded = b"".join(reader.feed(body[start:end]) for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True))
    reader.finish()
    assert decoded == b"".join(pieces)


@pytest.mark.parametrize("body", [b"!!!!", b"A===", b"AB=C", b"====", b"AA\nA", b"\xff\xff\xff\xff", b"AAA=AA=A"])
def test_what_is_no_base64_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidArgument, match="base64"):
        TextReader().feed(body)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_group_that_is_cut_off_is_refused(length: int) -> None:
    reader = TextReader()
    reader.feed(base64.b64encode(b"abc") + b"AAA"[:length])
    with pytest.raises(InvalidArgument, match=f"after {length} characters"):
        reader.finish()


@given(st.binary(max_size=64))
def test_any_bytes_are_decoded_or_refused_clearly(body: bytes) -> None:
    reader = TextReader()
    try:
        decoded = reader.feed(body)
        reader.finish()
    except InvalidArgument as error:
        assert "base64" in error.message
    else:
        assert len(decoded) <= len(body) // 4 * 3
