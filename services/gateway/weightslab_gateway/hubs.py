"""The hubs of the experiments that are watched now."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from weightslab_common.bus import Bus

from weightslab_gateway.directory import Directory
from weightslab_gateway.hub import Hub
from weightslab_gateway.metrics import Metrics


@dataclass(slots=True)
class _Watched:
    hub: Hub
    started: asyncio.Task[None]
    viewer_count: int = 0


class Hubs:
    """Makes a hub for the first viewer of an experiment and closes it after the last."""

    def __init__(self, *, bus: Bus, directory: Directory, metrics: Metrics) -> None:
        self._bus = bus
        self._directory = directory
        self._metrics = metrics
        self._watched: dict[str, _Watched] = {}
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def watched_count(self) -> int:
        return len(self._watched)

    @contextlib.asynccontextmanager
    async def viewer(self, experiment: str) -> AsyncIterator[Hub]:
        """The started hub of `experiment`, for as long as the context lasts."""
        watched = self._watched.get(experiment)
        if watched is None:
            hub = Hub(experiment, bus=self._bus, directory=self._directory, metrics=self._metrics)
            watched = self._watched[experiment] = _Watched(hub, asyncio.create_task(hub.start()))
        watched.viewer_count += 1
        self._metrics.viewers.inc()
        try:
            # Shielded: one viewer that leaves must not end the start that others wait for.
            await asyncio.shield(watched.started)
            yield watched.hub
        finally:
            self._metrics.viewers.dec()
            watched.viewer_count -= 1
            if watched.viewer_count == 0 and self._watched.get(experiment) is watched:
                del self._watched[experiment]
                self._close_soon(watched)

    async def close(self) -> None:
        """Wait until the hubs that nobody watches are closed."""
        while self._closing:
            await asyncio.gather(*self._closing, return_exceptions=True)

    def _close_soon(self, watched: _Watched) -> None:
        async def close() -> None:
            watched.started.cancel()
            await asyncio.gather(watched.started, return_exceptions=True)
            await watched.hub.close()

        # Not awaited by the viewer: it may be cancelled itself.
        task = asyncio.create_task(close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
