"""A connection to the bus that may not be there yet: what needs it says so instead of waiting."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from weightslab_common.bus import Bus, shown
from weightslab_common.bus_tls import told_context
from weightslab_common.errors import Unavailable


class BusLink:
    """Made by `linked`; `bus` is the connection."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._bus: Bus | None = None
        self._connected = asyncio.Event()

    @property
    def bus(self) -> Bus:
        """The connection. Raises Unavailable while there is none."""
        if self._bus is None or not self._bus.connected:
            raise Unavailable(f"the message bus at {shown(self._url)} is not connected: is NATS running?")
        return self._bus

    async def connect(self, token: str | None) -> None:
        """Wait for the server and connect; nats-py keeps the connection from then on."""
        self._bus = await Bus.connect(self._url, name="console", token=token, tls=told_context())
        self._connected.set()

    async def wait(self, timeout_secs: float) -> None:
        """Return when there is a connection, or when there was time enough for one."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_secs):
                await self._connected.wait()

    async def close(self) -> None:
        if self._bus:
            await self._bus.close()


@contextlib.asynccontextmanager
async def linked(url: str, *, token: str | None) -> AsyncIterator[BusLink]:
    """A link that connects in the background as soon as the server is there."""
    link = BusLink(url)
    connecting = asyncio.create_task(link.connect(token))
    try:
        yield link
    finally:
        connecting.cancel()
        await asyncio.gather(connecting, return_exceptions=True)
        await link.close()
