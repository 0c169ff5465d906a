"""Viewers and callers over gRPC-Web that cost next to nothing themselves, for measuring what they are served by.

A client library would be measured, too.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Callable

from weightslab_proto.weightslab.v1 import WatchRequest

WATCH = "/weightslab.v1.ExperimentService/Watch"


def request_bytes(path: str, message: bytes, *, token: str) -> bytes:
    """A whole HTTP/1.1 request that calls `path`."""
    body = struct.pack(">BI", 0, len(message)) + message
    head = (
        f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/grpc-web+proto\r\n"
        f"authorization: Bearer {token}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class WebConnection:
    """One HTTP/1.1 connection that makes calls one after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int) -> WebConnection:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def unary(self, request: bytes) -> None:
        """Send what `request_bytes` made and read the answer to its end; it must be a success."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        body = b""
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            body += await self._reader.readexactly(size + 2)
        await self._reader.readexactly(2)
        assert b"grpc-status:0" in body.replace(b" ", b""), body

    def close(self) -> None:
        self._writer.close()


class WebViewer(asyncio.Protocol):
    """Reads a `Watch` stream; calls `on_message` with each message as it comes, and with when it came."""

    def __init__(self, experiment: str, *, token: str, on_message: Callable[[bytes, float], None]) -> None:
        self._request = request_bytes(WATCH, bytes(WatchRequest(experiment=experiment)), token=token)
        self._on_message = on_message
        self._buffer = b""
        self._in_body = False
        self._transport: asyncio.Transport | None = None
        self.ended = False
        self.message_count = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        at = time.time()
        self._buffer += data
        if not self._in_body:
            head, mark, rest = self._buffer.partition(b"\r\n\r\n")
            if not mark:
                return
            assert head.startswith(b"HTTP/1.1 200"), head
            self._in_body, self._buffer = True, rest
        while (line := self._buffer.find(b"\r\n")) >= 0:
            size = int(self._buffer[:line], 16)
            end = line + 2 + size
            if len(self._buffer) < end + 2:
                return
            chunk, self._buffer = self._buffer[line + 2 : end], self._buffer[end + 2 :]
            if not chunk or chunk[0]:
                # The trailers: the gateway has ended the stream.
                self.ended = True
                return
            self.message_count += 1
            self._on_message(chunk[5:], at)

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = True

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


async def open_viewer(
    port: int, experiment: str, *, token: str, on_message: Callable[[bytes, float], None]
) -> WebViewer:
    """A viewer that is connected and has asked."""
    loop = asyncio.get_running_loop()
    _, viewer = await loop.create_connection(
        lambda: WebViewer(experiment, token=token, on_message=on_message), "127.0.0.1", port
    )
    return viewer
