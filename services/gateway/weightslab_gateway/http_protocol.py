"""Connections of the public HTTP port: with a way to cut one at once."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from weightslab_gateway.protocol_grpcweb.handler import ABORT_EXTENSION


class HttpConnection(HttpToolsProtocol):
    """Offers applications to abort the connection: closing it would wait for a client that does not read."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {ABORT_EXTENSION: {"call": self.transport.abort}}
