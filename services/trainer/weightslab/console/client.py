"""The client's connection: sends a line, returns the reply."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from weightslab_common.errors import InvalidArgument, Unavailable

from weightslab.console.grammar import LINE_MAX_BYTES

# A reply lists up to some ten thousand samples.
REPLY_MAX_BYTES = 64 * 1024 * 1024
_CONNECT_SECS = 10.0


class Client:
    """A connection to a console. Use `connected`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, line: str) -> bytes:
        """Send a command and return its reply, one line of JSON without its end.

        Raises InvalidArgument when the line cannot be sent and Unavailable when the console has gone.
        """
        payload = line.encode("utf-8", "surrogateescape")
        if b"\n" in payload or len(payload) >= LINE_MAX_BYTES:
            raise InvalidArgument(f"a command is one line of less than {LINE_MAX_BYTES} bytes")
        try:
            self._writer.write(payload + b"\n")
            await self._writer.drain()
            reply = await self._reader.readline()
        except (ConnectionError, ValueError) as error:
            raise Unavailable(f"the console ended the connection: {error}") from error
        if not reply:
            raise Unavailable("the console ended the connection: has the run ended?")
        return reply.rstrip(b"\n")

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


@contextlib.asynccontextmanager
async def connected(host: str, port: int) -> AsyncIterator[Client]:
    """A client of the console at an address; raises Unavailable when none is there."""
    try:
        async with asyncio.timeout(_CONNECT_SECS):
            reader, writer = await asyncio.open_connection(host, port, limit=REPLY_MAX_BYTES)
    except (OSError, TimeoutError) as error:
        raise Unavailable(
            f"no console answers at {host}:{port}: start one with `python -m weightslab.backend.cli serve`, or with "
            "wl.serve(serving_cli=True) in the run, which prints its port"
        ) from error
    client = Client(reader, writer)
    try:
        yield client
    finally:
        await client.close()
