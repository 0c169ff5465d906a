"""`GET /media/<experiment>/<split>/<uid>?layer=&w=&z=`: images of samples, encoded by the trainer's media workers.

An image of outlines carries the header `x-boxes`; the same address with `&as=boxes` gives the boxes as JSON.
`z` is the slice of a volume, in any layer. While the trainer is gone, images that are still in memory are given, marked
`x-stale`; others are an error, or with `&placeholder=1` a picture that says so.
"""

from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote

from starlette.requests import cookie_parser
from starlette.responses import Response
from weightslab_common.bus import Bus
from weightslab_common.errors import InvalidArgument, NotFound, Unavailable, WeightsLabError
from weightslab_common.media import Layer, Picture
from weightslab_common.names import experiment_slug

from weightslab_gateway.access import bearer
from weightslab_gateway.auth_http import COOKIE
from weightslab_gateway.directory import Directory
from weightslab_gateway.doors import Doors
from weightslab_gateway.media_boxes import boxes_json
from weightslab_gateway.media_cache import Image, MediaCache
from weightslab_gateway.media_pages import MediaPages
from weightslab_gateway.metrics import Metrics
from weightslab_gateway.placeholder import placeholder
from weightslab_gateway.replies import Answer, Scope, error_reply

PREFIX = "/media/"
MAX_SIZE_PX = 4096
MAX_SLICE = 1_000_000
MAX_NAME_CHARACTERS = 1024
# Of an address that is kept with what it asks for.
MAX_KEPT_ADDRESS_BYTES = 512
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


@dataclass(frozen=True, slots=True)
class Asked:
    """What an address asks for."""

    wanted: Wanted
    # The version that it names, which makes the answer immutable.
    version: str
    as_boxes: bool
    # Whether a picture shall stand in for an image that cannot be had.
    placeholder: bool


class MediaHttp:
    """Answers requests below PREFIX; Host and Origin were checked before.

    Raw ASGI: a page asks for many images, and of what is in memory every other part of an answer costs more.
    """

    def __init__(self, *, bus: Bus, directory: Directory, doors: Doors, metrics: Metrics, cache_bytes: int) -> None:
        self._pages = MediaPages(bus, directory)
        self._doors = doors
        self._metrics = metrics
        self._given = metrics.media.labels("ok")
        self._not_modified = metrics.media.labels("not_modified")
        self._cache = MediaCache(max_bytes=cache_bytes, max_age_secs=CACHE_SECS, clock=time.monotonic)

    async def close(self) -> None:
        """Give up what is being fetched."""
        await self._pages.close()

    async def respond(self, scope: Scope, headers: Mapping[str, str]) -> Answer | Response:
        """The answer to a request with these (lower-case) headers. Raises WeightsLabError."""
        if scope["method"] not in ("GET", "HEAD"):
            refusal = error_reply(405, "method_not_allowed", "images can be read only")
            refusal.headers["allow"] = "GET, HEAD"
            return refusal
        self._authorize(scope, headers)
        asked = asked_of(scope["raw_path"], scope["query_string"])
        try:
            image, stale = await self._image(asked.wanted)
        except WeightsLabError as error:
            self._metrics.media.labels(error.status.name.lower()).inc()
            if isinstance(error, Unavailable) and asked.placeholder:
                picture = placeholder(error.message, size_px=asked.wanted.size_px)
                return Answer(503, {"cache-control": "no-store", "content-type": "image/png"}, picture)
            raise
        return self._answer(asked, image, stale=stale, known=headers.get("if-none-match", ""))

    def _answer(self, asked: Asked, image: Image, *, stale: bool, known: str) -> Answer:
        if asked.as_boxes and not image.boxes:
            raise NotFound(f"layer {asked.wanted.layer!r} of sample {asked.wanted.uid[:100]!r} has no boxes")
        etag = f'"b{image.etag}"' if asked.as_boxes else f'"{image.etag}"'
        fields = {
            "etag": etag,
            # Whoever names the version in the address may keep the image for ever: another version, another address.
            "cache-control": "private, max-age=31536000, immutable"
            if image.version and asked.version == image.version
            else "private, no-cache",
            "x-version": _printable(image.version),
        }
        if image.boxes:
            fields["x-boxes"] = "1"
        if stale:
            fields["x-stale"] = "1"
        if known and etag in (tag.strip() for tag in known.split(",")):
            self._not_modified.inc()
            return Answer(304, fields)
        self._given.inc()
        fields["content-type"] = "application/json" if asked.as_boxes else image.media_type
        return Answer(200, fields, image.boxes if asked.as_boxes else image.content)

    def _authorize(self, scope: Scope, headers: Mapping[str, str]) -> None:
        cookie = headers.get("cookie")
        session = cookie_parser(cookie).get(COOKIE) if cookie else None
        client = scope.get("client")
        self._doors.admit(session or bearer(headers.get("authorization", "")), host=client[0] if client else "unknown")

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
        layer = Layer(wanted.split, wanted.layer, wanted.size_px, wanted.slice)
        reply = await self._pages.get(wanted.experiment, layer, wanted.uid)
        if reply.media_type not in MEDIA_TYPES:
            raise NotFound(f"what is stored for {wanted.uid[:100]!r} is no picture that can be shown")
        return Image(
            content=reply.content,
            media_type=reply.media_type,
            version=reply.version,
            etag=_etag(wanted, reply),
            boxes=boxes_json(reply),
        )


def asked_of(raw_path: bytes, query_string: bytes) -> Asked:
    """What an address asks for. Raises InvalidArgument."""
    if len(raw_path) + len(query_string) > MAX_KEPT_ADDRESS_BYTES:
        return _read_address(raw_path, query_string)
    return _read_address_once(raw_path, query_string)


def _read_address(raw_path: bytes, query_string: bytes) -> Asked:
    query = dict(parse_qsl(query_string.decode("latin-1"), keep_blank_values=True))
    return Asked(
        wanted=parse_wanted(raw_path.decode("ascii"), query),
        version=query.get("v", ""),
        as_boxes=query.get("as") == "boxes",
        placeholder=query.get("placeholder") == "1",
    )


# A page asks for the same images again and again.
_read_address_once = functools.lru_cache(maxsize=4096)(_read_address)


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


def _etag(wanted: Wanted, reply: Picture) -> str:
    digest = hashlib.sha256(f"{wanted!r}|{reply.version}|{reply.media_type}".encode())
    if not reply.version:
        digest.update(reply.content)
    return digest.hexdigest()[:32]


def _printable(text: str) -> str:
    return "".join(character for character in text if " " < character < "\x7f")[:200]
