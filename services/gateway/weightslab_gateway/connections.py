"""Connections of clients at the public ports: how many there may be, and how long one may say nothing."""

from __future__ import annotations

import asyncio

from weightslab_gateway.metrics import Metrics

# A client that connects and does not begin a request within this is cut off; so is one in the middle of its headers.
FIRST_BYTES_SECS = 10.0


class Connections:
    """Counts the connections of all public ports together."""

    def __init__(self, *, max_count: int, metrics: Metrics) -> None:
        self._max_count = max_count
        self._metrics = metrics
        self.count = 0

    def opened(self, transport: asyncio.BaseTransport) -> None:
        """Count a new connection, and cut it off when there is no room for it."""
        self.count += 1
        self._metrics.connections.set(self.count)
        if self.count > self._max_count:
            self._metrics.connections_refused.inc()
            abort(transport)

    def closed(self) -> None:
        """Every connection that was opened is closed once, those without room, too."""
        self.count -= 1
        self._metrics.connections.set(self.count)


def abort(transport: asyncio.BaseTransport) -> None:
    """Cut a connection at once."""
    assert isinstance(transport, asyncio.Transport)
    transport.abort()


class Patience:
    """Cuts a connection off unless it is told in time that there is no need to."""

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None

    def start(self, transport: asyncio.BaseTransport) -> None:
        """Cut `transport` off after FIRST_BYTES_SECS, unless `stop` comes first."""
        self.stop()
        self._timer = asyncio.get_running_loop().call_later(FIRST_BYTES_SECS, abort, transport)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
