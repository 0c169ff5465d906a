"""gRPC and HTTP/1.1 on one port, told apart by the first bytes of a connection.

Every HTTP/2 client begins with the same 24 bytes: https://www.rfc-editor.org/rfc/rfc9113#section-3.4.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from weightslab_gateway.connections import Patience

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

MakeProtocol = Callable[[], asyncio.Protocol]


class FirstBytes(asyncio.Protocol):
    """Holds a new connection until its first bytes say which protocol it is for."""

    def __init__(self, *, http2: MakeProtocol, http1: MakeProtocol) -> None:
        self._http2 = http2
        self._http1 = http1
        self._received = b""
        self._patience = Patience()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._patience.start(transport)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        self._received += data
        if len(self._received) < len(PREFACE) and PREFACE.startswith(self._received):
            return
        self._patience.stop()
        protocol = self._http2() if self._received.startswith(PREFACE) else self._http1()
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        if not self._transport.is_closing():
            protocol.data_received(self._received)

    def connection_lost(self, exc: Exception | None) -> None:
        self._patience.stop()
