"""Connections of the public HTTP port: with a way to cut one at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from weightslab_gateway.connections import Connections, Patience
from weightslab_gateway.gathered import Gathered
from weightslab_gateway.protocol_grpcweb.handler import ABORT_EXTENSION
from weightslab_gateway.single_port import FirstBytes, MakeProtocol


class HttpConnection(HttpToolsProtocol):
    """Offers applications to abort the connection: closing it would wait for a client that does not read.

    uvicorn waits for ever for the end of a request's headers; here a client has so long.
    """

    counted: Connections | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._patience = Patience()
        self._patience.start(transport)
        if self.counted is not None:
            self.counted.opened(transport)
        super().connection_made(Gathered(transport))

    def connection_lost(self, exc: Exception | None) -> None:
        self._patience.stop()
        if self.counted is not None:
            self.counted.closed()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._patience.start(self.transport)
        self.scope["extensions"] = {ABORT_EXTENSION: {"call": self.transport.abort}}

    def on_headers_complete(self) -> None:
        self._patience.stop()
        super().on_headers_complete()


def protocol(connections: Connections, *, http2: MakeProtocol | None) -> Callable[..., asyncio.Protocol]:
    """What uvicorn makes of each connection: they are counted, and with `http2` it gets those that speak HTTP/2."""
    http1 = type("CountedHttpConnection", (HttpConnection,), {"counted": connections})
    if http2 is None:
        return http1
    return lambda **options: FirstBytes(http2=http2, http1=lambda: http1(**options))
