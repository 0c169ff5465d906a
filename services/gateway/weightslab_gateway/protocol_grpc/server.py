"""The HTTP/2 server: grpclib's protocol with our own handler and our own end.

grpclib's server cancels handlers at its end without a status, so that a client reading a stream hangs
(https://github.com/vmagamedov/grpclib/issues/190), and takes messages of any size.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Mapping

from grpclib.config import Configuration
from grpclib.const import Handler
from grpclib.protocol import H2Protocol
from h2.config import H2Configuration
from weightslab_common.ports import BACKLOG
from weightslab_common.service import bounded

from weightslab_gateway.connections import Connections, Patience
from weightslab_gateway.protocol.call import Limits
from weightslab_gateway.protocol_grpc.handler import ConnectionHandler

log = logging.getLogger(__name__)

# Every client of HTTP/2 answers a PING by itself: one that does not is gone, though a proxy on the way, or the kernel,
# still takes what is sent to it. Pings are sent beside the data of a stream, too, which nobody acknowledges.
PING_SECS = 20.0
# Longer than WL_SEND_TIMEOUT_SECS: one that is there and does not read is told why it is dropped.
PING_TIMEOUT_SECS = 40.0


def _configuration() -> Configuration:
    return Configuration(
        _keepalive_time=PING_SECS,
        _keepalive_timeout=PING_TIMEOUT_SECS,
        # Only those that have a call: the system asks the others.
        _keepalive_permit_without_calls=False,
        _http2_max_pings_without_data=0,
        _http2_min_sent_ping_interval_without_data=PING_SECS / 2,
    ).__for_server__()


_H2 = H2Configuration(client_side=False, header_encoding="latin-1")


class GrpcConnection(H2Protocol):
    """One connection of a client."""

    def __init__(self, server: GrpcServer) -> None:
        self.calls = ConnectionHandler(server.mapping, limits=server.limits, abort=self._abort, peer=self._peer)
        super().__init__(self.calls, _configuration(), _H2)
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._patience = Patience()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._patience.start(transport)
        self._server.counted.opened(transport)
        self._server.connections.add(self)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self._patience.stop()
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._patience.stop()
        self._server.counted.closed()
        self._server.connections.discard(self)
        super().connection_lost(exc)

    def _abort(self) -> None:
        if self._transport:
            self._transport.abort()

    def _peer(self) -> str:
        address = self._transport.get_extra_info("peername") if self._transport else None
        return f"{address[0]}:{address[1]}" if address else "unknown"

    def say_goodbye(self) -> None:
        """Send GOAWAY and close."""
        if self._transport and not self._transport.is_closing():
            self.connection._connection.close_connection()
            self.connection.flush()
            self._transport.close()


class GrpcServer:
    """Serves the methods in `mapping`."""

    def __init__(self, mapping: Mapping[str, Handler], *, limits: Limits, counted: Connections) -> None:
        self.mapping = mapping
        self.limits = limits
        self.counted = counted
        self.connections: set[GrpcConnection] = set()
        self._listener: asyncio.AbstractServer | None = None

    def protocol(self) -> GrpcConnection:
        """The protocol of a new connection."""
        return GrpcConnection(self)

    async def start(self, listening: socket.socket, *, tls: ssl.SSLContext | None = None) -> None:
        """Accept connections on a listening socket."""
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(self.protocol, sock=listening, ssl=tls, backlog=BACKLOG)

    async def close(self, *, grace_secs: float = 2.0) -> None:
        """Stop listening, let running calls end within the grace, then say goodbye to every client."""
        if self._listener:
            self._listener.close()
        running = [task for connection in self.connections for task in connection.calls.tasks.values()]
        if running:
            await asyncio.wait(running, timeout=grace_secs)
        for connection in list(self.connections):
            connection.say_goodbye()
        if self._listener:
            with contextlib.suppress(TimeoutError):
                # From Python 3.12 on it waits for connections, too.
                await bounded(self._listener.wait_closed(), secs=grace_secs)
        for connection in list(self.connections):
            connection._abort()
