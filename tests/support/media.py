"""One image over the bus, as a gateway asks for it."""

from __future__ import annotations

from typing import Any

from weightslab_common import subjects
from weightslab_common.bus import Bus
from weightslab_common.media import Layer, Picture, replies_of, request_of
from weightslab_proto.weightslab.bus.v1 import GetMediaPageResponse


async def image_of(bus: Bus, experiment: str, uid: str, *, timeout_secs: float = 10, **options: Any) -> Picture:
    """The image of a sample of the split `train`. Raises what the media worker raises, Unavailable."""
    request = request_of(Layer("train", **options), [uid])
    subject = subjects.media(experiment)
    page = await bus.request(subject, request, GetMediaPageResponse, timeout_secs=timeout_secs, part="media")
    (reply,) = replies_of(page, count=1)
    assert reply is not None, "the first image of a page is never left out"
    if not isinstance(reply, Picture):
        raise reply
    return reply
