"""The console's TCP side: one line in, one JSON line out, with bounds against whatever connects."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from weightslab_common.errors import FailedPrecondition

from weightslab.console.conversation import Conversation
from weightslab.console.grammar import LINE_MAX_BYTES
from weightslab.console.replies import Reply, encode, failure

log = logging.getLogger(__name__)

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
# A browser can be made to send a request here, and its body would be read as commands.
_HTTP = re.compile(rb"[A-Za-z]{3,10} \S* ?HTTP/\d")
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")

_LAST_WORDS_SECS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of a console server."""

    # Beyond it, the oldest that has said no line yet makes room for a new one.
    max_connections: int = 64
    # A line that was begun must end within this; a reply must be taken within this.
    line_secs: float = 30.0
    # A connection that says nothing is closed after this.
    idle_secs: float = 3600.0


class ConsoleServer:
    """Serves conversations. Use `serving`."""

    def __init__(self, converse: Callable[[], Conversation], *, limits: Limits) -> None:
        self.refused_connections = 0
        self._converse = converse
        self._limits = limits
        # In the order in which they came, with whether they have said a line.
        self._open: dict[asyncio.Task[None], bool] = {}

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Talk to one client until either side ends it."""
        task = asyncio.current_task()
        assert task
        try:
            if len(self._open) >= self._limits.max_connections and not self._end_a_silent_one():
                self.refused_connections += 1
                await self._send(writer, failure(f"the console has its {len(self._open)} connections; close one"))
                return
            self._open[task] = False
            await self._talk(reader, writer, self._converse())
        except (ConnectionError, TimeoutError, EOFError):
            log.debug("a console connection ended early")
        except asyncio.CancelledError:
            # The server closes; asyncio would report a cancelled handler as a fault.
            log.debug("a console connection was closed with the server")
        finally:
            self._open.pop(task, None)
            await _closed(writer)

    def _end_a_silent_one(self) -> bool:
        """Make room by the oldest connection that has said no line yet; False when there is none."""
        silent = next((task for task, has_spoken in self._open.items() if not has_spoken), None)
        if silent is None:
            return False
        self.refused_connections += 1
        del self._open[silent]
        silent.cancel()
        return True

    async def close(self) -> None:
        """End all conversations."""
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _talk(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, conversation: Conversation
    ) -> None:
        task = asyncio.current_task()
        assert task
        while not conversation.ended:
            try:
                line = await self._line(reader)
            except ValueError:
                await self._send(writer, failure(f"a line has at most {LINE_MAX_BYTES} bytes; goodbye"))
                return
            if line is None:
                return
            if not line.endswith(b"\n"):
                # What was cut off could have named another sample.
                await self._send(writer, failure("the last line did not end, so it was not carried out"))
                return
            if _HTTP.match(line) or _CONTROL.search(line):
                await self._send(writer, failure("this is the console, one line of text per command; goodbye"))
                return
            self._open[task] = True
            reply = await conversation.answer(line)
            if reply is not None:
                await self._send(writer, reply)

    async def _line(self, reader: asyncio.StreamReader) -> bytes | None:
        """The next line, None at the end. Raises ValueError when it is too long, TimeoutError when it does not end."""
        async with asyncio.timeout(self._limits.idle_secs):
            first = await reader.read(1)
        if first in (b"", b"\n"):
            return first or None
        async with asyncio.timeout(self._limits.line_secs):
            return first + await reader.readline()

    async def _send(self, writer: asyncio.StreamWriter, reply: Reply) -> None:
        writer.write(encode(reply))
        async with asyncio.timeout(self._limits.line_secs):
            await writer.drain()


@contextlib.asynccontextmanager
async def serving(
    converse: Callable[[], Conversation], *, host: str, port: int, limits: Limits | None = None
) -> AsyncIterator[int]:
    """Serve while in this context; gives the port, a free one when `port` is 0.

    Raises FailedPrecondition when the address cannot be taken.
    """
    console = ConsoleServer(converse, limits=limits or Limits())
    try:
        server = await asyncio.start_server(console.connected, _one_address(host), port, limit=LINE_MAX_BYTES)
    except OSError as error:
        why = "is busy" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
        raise FailedPrecondition(
            f"port {port} for the console at {host} {why}: choose another with --port or CLI_PORT, or 0 for a free one"
        ) from error
    if host not in LOOPBACK_HOSTS:
        log.warning("the console listens at %s: whoever reaches it can change the run, without a token", host)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        await console.close()
        await server.wait_closed()


async def _closed(writer: asyncio.StreamWriter) -> None:
    """Close after what is written has been taken; a client that takes nothing is cut off."""
    writer.close()
    try:
        async with asyncio.timeout(_LAST_WORDS_SECS):
            await writer.wait_closed()
    except (OSError, TimeoutError):
        writer.transport.abort()


def _one_address(host: str) -> str:
    # `localhost` may stand for two addresses, and a free port would be a different one on each.
    return "127.0.0.1" if host == "localhost" else host
