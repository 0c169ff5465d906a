"""Images in memory: the least recently used leave first, and an image is fetched once however many ask for it.

What is too old to be given as it is stays for `stale`, until it has to leave.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass

# Of the bookkeeping of an entry, so that many tiny images are counted, too.
ENTRY_BYTES = 500


@dataclass(frozen=True, slots=True)
class Image:
    """An encoded image."""

    content: bytes
    media_type: str
    version: str
    etag: str
    # The boxes that the image outlines, as JSON; empty when it is no image of boxes.
    boxes: bytes = b""

    @property
    def size_bytes(self) -> int:
        return len(self.content) + len(self.boxes) + ENTRY_BYTES


class MediaCache:
    """Keeps at most `max_bytes` of images; each is fresh for `max_age_secs`."""

    def __init__(self, *, max_bytes: int, max_age_secs: float, clock: Callable[[], float]) -> None:
        self._max_bytes = max_bytes
        self._max_age_secs = max_age_secs
        self._clock = clock
        self._images: OrderedDict[Hashable, tuple[float, Image]] = OrderedDict()
        self._fetches: dict[Hashable, asyncio.Task[Image]] = {}
        self._waiters: dict[Hashable, int] = {}
        self.size_bytes = 0

    def get(self, key: Hashable) -> Image | None:
        """The image that is kept under `key`, unless it is too old."""
        entry = self._images.get(key)
        if entry is None:
            return None
        kept_at, image = entry
        self._images.move_to_end(key)
        return image if self._clock() - kept_at <= self._max_age_secs else None

    def stale(self, key: Hashable) -> Image | None:
        """The image that is kept under `key`, however old it is."""
        entry = self._images.get(key)
        return entry[1] if entry else None

    async def fetch(self, key: Hashable, fetch: Callable[[], Awaitable[Image]]) -> Image:
        """Fetch an image and keep it. Callers with the same key share one fetch, which ends when the last one left.

        Raises what `fetch` raises.
        """
        task = self._fetches.get(key)
        if task is None:
            task = self._fetches[key] = asyncio.create_task(self._fetch(key, fetch))
        self._waiters[key] = self._waiters.get(key, 0) + 1
        try:
            return await asyncio.shield(task)
        finally:
            self._waiters[key] -= 1
            if not self._waiters[key]:
                del self._waiters[key]
                if self._fetches.get(key) is task:
                    del self._fetches[key]
                if not task.done():
                    task.cancel()

    async def _fetch(self, key: Hashable, fetch: Callable[[], Awaitable[Image]]) -> Image:
        image = await fetch()
        self._keep(key, image)
        return image

    def _keep(self, key: Hashable, image: Image) -> None:
        self._forget(key)
        if image.size_bytes > self._max_bytes:
            return
        self._images[key] = (self._clock(), image)
        self.size_bytes += image.size_bytes
        while self.size_bytes > self._max_bytes:
            self._forget(next(iter(self._images)))

    def _forget(self, key: Hashable) -> None:
        entry = self._images.pop(key, None)
        if entry is not None:
            self.size_bytes -= entry[1].size_bytes
