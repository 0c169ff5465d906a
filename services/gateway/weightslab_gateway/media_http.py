"""`GET /media/<experiment>/<split>/<uid>?layer=&w=&z=`: images of samples, encoded by the trainer's media workers.

An image of outlines carries the header `x-boxes`; the same address with `&as=boxes` gives the boxes as JSON.
`z` is the slice of a volume, in any layer. While the trainer is gone, images that are still in memory are given, marked
`x-stale`; others are an error, or with `&placeholder=1` a picture that says so.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import Response
from weightslab_common import subjects
from weightslab_common.bus import Bus
from weightslab_common.errors import InvalidArgument, NotFound, Unavailable, WeightsLabError
from weightslab_common.names import experiment_slug
from weightslab_proto.weightslab.bus.v1 import GetMediaRequest, GetMediaResponse

from weightslab_gateway.access import bearer
from weightslab_gateway.auth_http import COOKIE, client_host
from weightslab_gateway.directory import Directory
from weightslab_gateway.doors import Doors
from weightslab_gateway.media_boxes import boxes_json
from weightslab_gateway.media_cache import Image, MediaCache
from weightslab_gateway.metrics import Metrics
from weightslab_gateway.placeholder import placeholder
from weightslab_gateway.replies import error_reply

PREFIX = "/media/"
TIMEOUT_SECS = 10.0
WORKER_RETRY_SECS = 0.2
MAX_SIZE_PX = 4096
MAX_SLICE = 1_000_000
MAX_NAME_CHARACTERS = 1024
LAYERS = frozenset({"image", "gt", "pred", "diff"})
# Only pictures are handed on: what a dataset gives must not become a document in a browser.
MEDIA_TYPES = frozenset({"image/png", "image/jpeg", "image/webp"})
# A kept image is asked for again after this, since its version is the trainer's to change.
CACHE_SECS = 5.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which image is asked for."""

    experiment: str
    split: str
    uid: str
    layer: str
    size_px: int
    slice: int


class MediaHttp:
    """Answers requests below PREFIX; Host and Origin were checked before."""

    def __init__(self, *, bus: Bus, directory: Directory, doors: Doors, metrics: Metrics, cache_bytes: int) -> None:
        self._bus = bus
        self._directory = directory
        self._doors = doors
        self._metrics = metrics
        self._cache = MediaCache(max_bytes=cache_bytes, max_age_secs=CACHE_SECS, clock=time.monotonic)

    async def respond(self, request: Request) -> Response:
        """Raises WeightsLabError."""
        if request.method not in ("GET", "HEAD"):
            response = error_reply(405, "method_not_allowed", "images can be read only")
            response.headers["allow"] = "GET, HEAD"
            return response
        self._authorize(request)
        wanted = parse_wanted(request.scope["raw_path"].decode("ascii"), request.query_params)
        try:
            image, stale = await self._image(wanted)
        except WeightsLabError as error:
            self._metrics.media.labels(error.status.name.lower()).inc()
            if isinstance(error, Unavailable) and request.query_params.get("placeholder") == "1":
                picture = placeholder(error.message, size_px=wanted.size_px)
                return Response(picture, 503, headers={"cache-control": "no-store"}, media_type="image/png")
            raise
        as_boxes = request.query_params.get("as") == "boxes"
        if as_boxes and not image.boxes:
            raise NotFound(f"layer {wanted.layer!r} of sample {wanted.uid[:100]!r} has no boxes")
        etag = _etag(wanted, image, as_boxes=as_boxes)
        headers = {
            "etag": etag,
            # Whoever names the version in the address may keep the image for ever: another version, another address.
            "cache-control": "private, max-age=31536000, immutable"
            if request.query_params.get("v") == image.version and image.version
            else "private, no-cache",
            "x-version": _printable(image.version),
        }
        if image.boxes:
            headers["x-boxes"] = "1"
        if stale:
            headers["x-stale"] = "1"
        if etag in (tag.strip() for tag in request.headers.get("if-none-match", "").split(",")):
            self._metrics.media.labels("not_modified").inc()
            return Response(status_code=304, headers=headers)
        self._metrics.media.labels("ok").inc()
        if as_boxes:
            return Response(image.boxes, headers=headers, media_type="application/json")
        return Response(image.content, headers=headers, media_type=image.media_type)

    def _authorize(self, request: Request) -> None:
        credential = request.cookies.get(COOKIE) or bearer(request.headers.get("authorization", ""))
        self._doors.admit(credential, host=client_host(request))

    async def _image(self, wanted: Wanted) -> tuple[Image, bool]:
        """The image, and whether it may be out of date because nobody can be asked."""
        image = self._cache.get(wanted)
        if image is not None:
            return image, False
        try:
            image = await self._cache.fetch(wanted, lambda: self._fetch(wanted))
        except Unavailable:
            image = self._cache.stale(wanted)
            if image is None:
                raise
            return image, True
        self._metrics.media_cache_bytes.set(self._cache.size_bytes)
        return image, False

    async def _fetch(self, wanted: Wanted) -> Image:
        request = GetMediaRequest(
            split=wanted.split, uid=wanted.uid, layer=wanted.layer, size_px=wanted.size_px, slice=wanted.slice
        )
        reply = await self._ask(wanted.experiment, request)
        if reply.media_type not in MEDIA_TYPES:
            raise NotFound(f"what is stored for {wanted.uid[:100]!r} is no picture that can be shown")
        return Image(content=reply.content, media_type=reply.media_type, version=reply.version, boxes=boxes_json(reply))

    async def _ask(self, experiment: str, request: GetMediaRequest) -> GetMediaResponse:
        """Ask a media worker; one that is just being started is waited for as long as its trainer is there."""
        end = time.monotonic() + TIMEOUT_SECS
        while True:
            try:
                return await self._bus.request(
                    subjects.media(experiment), request, GetMediaResponse, timeout_secs=TIMEOUT_SECS, part="trainer"
                )
            except Unavailable:
                await self._directory.require(experiment)
                if not self._directory.trainer_connected(experiment) or time.monotonic() > end:
                    raise
            await asyncio.sleep(WORKER_RETRY_SECS)


def parse_wanted(raw_path: str, query: Mapping[str, str]) -> Wanted:
    """What an address asks for. A slash in a split or uid is written `%2F`. Raises InvalidArgument."""
    parts = raw_path.removeprefix(PREFIX).split("/")
    if len(parts) != 3 or not all(parts):
        raise InvalidArgument("an image's address is /media/<experiment>/<split>/<uid>, each percent-encoded")
    try:
        experiment, split, uid = (unquote(part, errors="strict") for part in parts)
    except UnicodeDecodeError:
        raise InvalidArgument("the address is no percent-encoded UTF-8") from None
    if max(len(split), len(uid)) > MAX_NAME_CHARACTERS:
        raise InvalidArgument(f"a split or uid has more than {MAX_NAME_CHARACTERS} characters")
    layer = query.get("layer") or "image"
    if layer not in LAYERS:
        raise InvalidArgument(f"layer {layer[:40]!r} is not one of {', '.join(sorted(LAYERS))}")
    return Wanted(
        experiment=experiment_slug(experiment),
        split=split,
        uid=uid,
        layer=layer,
        size_px=_number(query, "w", at_most=MAX_SIZE_PX),
        slice=_number(query, "z", at_most=MAX_SLICE),
    )


def _number(query: Mapping[str, str], name: str, *, at_most: int) -> int:
    text = query.get(name) or "0"
    if not (text.isascii() and text.isdigit() and len(text) <= 9) or int(text) > at_most:
        raise InvalidArgument(f"{name}={text[:20]!r} is not a whole number from 0 to {at_most}")
    return int(text)


def _etag(wanted: Wanted, image: Image, *, as_boxes: bool) -> str:
    digest = hashlib.sha256(f"{wanted!r}|{image.version}|{image.media_type}|{as_boxes}".encode())
    if not image.version:
        digest.update(image.content)
    return f'"{digest.hexdigest()[:32]}"'


def _printable(text: str) -> str:
    return "".join(character for character in text if " " < character < "\x7f")[:200]
