"""Images on their way from a media worker: pages of them, as the columns of a message."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from weightslab_proto.weightslab.bus.v1 import GetMediaPageRequest, GetMediaPageResponse, MediaBoxes

from weightslab_common.columns import U8, U32, pack, unpack
from weightslab_common.errors import InvalidArgument, WeightsLabError, error_for

_LEFT_OUT = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Layer:
    """What is wanted of each sample of a page; fields as in `bus.v1.GetMediaPageRequest`."""

    split: str
    layer: str = ""
    size_px: int = 0
    slice: int = 0
    epoch: int | None = None


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded image, the size of its source in pixels, and the boxes that it outlines."""

    content: bytes
    media_type: str
    version: str
    source_width_px: int
    source_height_px: int
    boxes: MediaBoxes | None = None


Reply = Picture | WeightsLabError | None
"""An image, why there is none, or None for what is to be asked for again."""


def request_of(layer: Layer, uids: Sequence[str]) -> GetMediaPageRequest:
    """The request for `layer` of these samples."""
    return GetMediaPageRequest(
        split=layer.split,
        uids=list(uids),
        layer=layer.layer,
        size_px=layer.size_px,
        slice=layer.slice,
        epoch=layer.epoch,
    )


def layer_of(request: GetMediaPageRequest) -> Layer:
    """What `request_of` was told."""
    return Layer(request.split, request.layer, request.size_px, request.slice, request.epoch)


def response_of(replies: Sequence[Reply]) -> GetMediaPageResponse:
    """The message that carries these replies."""
    pictures = [reply if isinstance(reply, Picture) else _NONE for reply in replies]
    return GetMediaPageResponse(
        contents=b"".join(picture.content for picture in pictures),
        content_sizes=pack([len(picture.content) for picture in pictures], U32),
        statuses=pack([_status(reply) for reply in replies], U32),
        texts=[
            reply.message if isinstance(reply, WeightsLabError) else picture.version
            for reply, picture in zip(replies, pictures, strict=True)
        ],
        media_types=[picture.media_type for picture in pictures],
        source_widths_px=pack([picture.source_width_px for picture in pictures], U32),
        source_heights_px=pack([picture.source_height_px for picture in pictures], U32),
        has_boxes=bytes(picture.boxes is not None for picture in pictures),
        boxes=[picture.boxes for picture in pictures if picture.boxes is not None],
    )


def replies_of(response: GetMediaPageResponse, *, count: int) -> list[Reply]:
    """The `count` replies that a message carries. Raises InvalidArgument when its columns do not fit."""
    statuses, sizes, widths, heights = (
        unpack(column, U32, count=count, name=name).tolist()
        for name, column in (
            ("statuses", response.statuses),
            ("content_sizes", response.content_sizes),
            ("source_widths_px", response.source_widths_px),
            ("source_heights_px", response.source_heights_px),
        )
    )
    has_boxes = unpack(response.has_boxes, U8, count=count, name="has_boxes").tolist()
    texts, media_types = response.texts, response.media_types
    counts = (len(texts), len(media_types), len(response.contents), len(response.boxes))
    if counts != (count, count, sum(sizes), sum(has_boxes)):
        raise InvalidArgument(f"a page of {count} images has columns that do not fit each other")
    boxes = iter(response.boxes)
    replies: list[Reply] = []
    start = 0
    for number, (status, size) in enumerate(zip(statuses, sizes, strict=True)):
        content, start = response.contents[start : start + size], start + size
        outlined = next(boxes) if has_boxes[number] else None
        if status == _LEFT_OUT:
            replies.append(None)
        elif status:
            replies.append(error_for(status, texts[number]))
        else:
            replies.append(
                Picture(content, media_types[number], texts[number], widths[number], heights[number], outlined)
            )
    return replies


_NONE = Picture(b"", "", "", 0, 0)


def _status(reply: Reply) -> int:
    if reply is None:
        return _LEFT_OUT
    return int(reply.status.value) if isinstance(reply, WeightsLabError) else 0
