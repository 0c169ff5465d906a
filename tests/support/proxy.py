"""A TCP proxy on loopback that spoils connections on command: late, slow, silent, or cut off.

It stands between two real processes. There is no maintained one to be had from PyPI, npm or Debian: Toxiproxy's server
is not packaged there, and the packages that are there are clients for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

ResultT = TypeVar("ResultT")

_CHUNK_BYTES = 16 * 1024
# Bytes that may be under way in one direction of a connection that is late.
_UNDER_WAY_CHUNKS = 256
_NATS_NAME = re.compile(rb'"name":\s*"([^"]*)"')


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong with a connection. `silent`: bytes vanish on the way, and neither side is told."""

    latency_secs: float = 0.0
    bytes_per_sec: float = 0.0
    silent: bool = False


CLEAR = Trouble()


@dataclass(eq=False, slots=True)
class _Connection:
    writers: list[asyncio.StreamWriter]
    # Who the client is, by its own words; empty while not known.
    name: str = ""
    lost_bytes: bool = False


@dataclass(slots=True)
class FaultyProxy:
    """Forwards `port` to `target_port`. A client is known by its name in NATS's CONNECT; others have the name ''.

    Trouble is for the clients whose name begins with a text, so that one of many clients of a bus can be cut off.
    """

    target_port: int
    port: int
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _connections: set[_Connection] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _troubles: dict[str, Trouble] = field(default_factory=dict)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy {self.port}", daemon=True)
        self._thread.start()
        self._do(self._listen)

    def stop(self) -> None:
        """Cut everything off and end."""

        async def end() -> None:
            self._cut("")
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

        assert self._thread
        self._do(end)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def trouble(self, trouble: Trouble, *, client: str = "") -> None:
        """From now on the connections of `client` are like this; CLEAR ends it.

        A connection that lost bytes while it was silent cannot go on, and is cut off when the silence ends.
        """

        async def change() -> None:
            self._troubles[client] = trouble
            if trouble is CLEAR:
                for connection in list(self._connections):
                    if connection.lost_bytes:
                        _reset(connection)

        self._do(change)

    def reset(self, *, client: str = "") -> int:
        """Cut off the connections of `client` by RST, and return how many there were; new ones are served."""

        async def cut() -> int:
            return self._cut(client)

        return self._do(cut)

    def clients(self) -> list[str]:
        """The names of who is connected."""

        async def names() -> list[str]:
            return sorted(connection.name for connection in self._connections)

        return self._do(names)

    def _do(self, work: Callable[[], Coroutine[Any, Any, ResultT]]) -> ResultT:
        return asyncio.run_coroutine_threadsafe(work(), self._loop).result(30)

    def _cut(self, client: str) -> int:
        chosen = [connection for connection in self._connections if connection.name.startswith(client)]
        for connection in chosen:
            _reset(connection)
        return len(chosen)

    def _of(self, connection: _Connection) -> Trouble:
        for client, trouble in self._troubles.items():
            if trouble is not CLEAR and connection.name.startswith(client):
                return trouble
        return CLEAR

    async def _listen(self) -> None:
        server = await asyncio.start_server(self._accepted, "127.0.0.1", self.port)
        task = asyncio.create_task(server.serve_forever())
        self._tasks.add(task)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        connection = _Connection([writer])
        self._connections.add(connection)
        try:
            upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
            connection.writers.append(upstream_writer)
            pumps = [
                asyncio.create_task(self._pump(connection, reader, upstream_writer)),
                asyncio.create_task(self._pump(connection, upstream_reader, writer)),
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        except OSError:
            # Nobody listens behind the proxy: for the client that is a connection that ends at once.
            pass
        finally:
            self._connections.discard(connection)
            for one in connection.writers:
                one.close()
            self._tasks.discard(task)

    async def _pump(self, connection: _Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_UNDER_WAY_CHUNKS)
        delivering = asyncio.create_task(self._deliver(connection, under_way, writer))
        try:
            while chunk := await reader.read(_CHUNK_BYTES):
                if not connection.name and (found := _NATS_NAME.search(chunk)):
                    connection.name = found[1].decode(errors="replace")
                trouble = self._of(connection)
                if trouble.silent:
                    connection.lost_bytes = True
                    continue
                await under_way.put((self._loop.time() + trouble.latency_secs, chunk))
            await under_way.put((0.0, b""))
            await delivering
        except ConnectionError:
            _reset(connection)
        finally:
            delivering.cancel()
            await asyncio.gather(delivering, return_exceptions=True)

    async def _deliver(
        self, connection: _Connection, under_way: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                due, chunk = await under_way.get()
                if not chunk:
                    return
                await asyncio.sleep(max(0.0, due - self._loop.time()))
                if rate := self._of(connection).bytes_per_sec:
                    for at in range(0, len(chunk), 512):
                        part = chunk[at : at + 512]
                        await asyncio.sleep(len(part) / rate)
                        writer.write(part)
                        await writer.drain()
                    continue
                writer.write(chunk)
                await writer.drain()


def _reset(connection: _Connection) -> None:
    for writer in connection.writers:
        found: socket.socket | None = writer.get_extra_info("socket")
        if found is not None and not writer.is_closing():
            # Lingering for no time at all makes the kernel send RST instead of FIN.
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
