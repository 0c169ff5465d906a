"""Pages of images as columns of a message."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from weightslab_common.errors import InvalidArgument, NotFound, WeightsLabError
from weightslab_common.media import Layer, Picture, Reply, layer_of, replies_of, request_of, response_of
from weightslab_proto.weightslab.bus.v1 import GetMediaPageRequest, GetMediaPageResponse, MediaBoxes

_sizes = st.integers(0, 2**32 - 1)
_pictures = st.builds(
    Picture,
    content=st.binary(max_size=50),
    media_type=st.sampled_from(["image/png", "image/jpeg"]),
    version=st.text(max_size=5),
    source_width_px=_sizes,
    source_height_px=_sizes,
    boxes=st.none() | st.builds(MediaBoxes, corners=st.binary(max_size=8)),
)
_replies = st.lists(_pictures | st.none() | st.builds(NotFound, st.text(max_size=20)), max_size=8)


def _plain(reply: Reply) -> object:
    return (reply.status, reply.message) if isinstance(reply, WeightsLabError) else reply


@given(_replies)
def test_a_page_is_read_as_it_was_written(replies: list[Reply]) -> None:
    message = GetMediaPageResponse().parse(bytes(response_of(replies)))
    assert list(map(_plain, replies_of(message, count=len(replies)))) == list(map(_plain, replies))


@given(
    st.builds(
        Layer,
        split=st.text(max_size=5),
        layer=st.sampled_from(["image", "pred"]),
        size_px=st.integers(0, 4096),
        slice=st.integers(0, 100),
        epoch=st.none() | st.integers(0, 10),
    ),
    st.lists(st.text(max_size=5), max_size=5),
)
def test_a_request_is_read_as_it_was_written(layer: Layer, uids: list[str]) -> None:
    message = GetMediaPageRequest().parse(bytes(request_of(layer, uids)))
    assert (layer_of(message), message.uids) == (layer, uids)


@pytest.mark.parametrize(
    "damage",
    [
        {"contents": b"to"},
        {"content_sizes": b"12345"},
        {"statuses": b""},
        {"texts": []},
        {"media_types": ["a", "b", "c"]},
        {"source_widths_px": b"1234"},
        {"has_boxes": b"\x01\x01"},
        {"boxes": []},
    ],
)
def test_columns_that_do_not_fit_are_refused(damage: dict[str, object]) -> None:
    boxed = Picture(b"one", "image/png", "1", 2, 3, MediaBoxes())
    whole = response_of([boxed, NotFound("there is none")])
    fields = {field.name: getattr(whole, field.name) for field in dataclasses.fields(whole)}
    with pytest.raises(InvalidArgument):
        replies_of(GetMediaPageResponse(**{**fields, **damage}), count=2)
