"""A gateway process that is told to stop ends in time and in order, whatever its clients and the bus do."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from grpclib import GRPCError
from grpclib.client import Channel
from grpclib.const import Status
from weightslab_common.bus import Bus
from weightslab_common.embedded import free_ports, nats_command
from weightslab_proto.weightslab.v1 import WatchRequest

from tests.support.processes import Process, accepts, wait_until
from tests.support.studio import TOKEN, Api
from tests.support.web_viewers import WATCH, open_viewer, request_bytes
from tests.unit.gateway.peers import LedgerPeer

EXPERIMENT = "ends"
IMAGE = f"GET /media/{EXPERIMENT}/train/0?w=512 HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\n\r\n"


class Ending:
    """A gateway process on a bus of its own."""

    def __init__(self, folder: Path) -> None:
        self.nats_port, self.grpc_port, self.web_port, self.admin_port = free_ports(4)
        self.nats_url = f"nats://127.0.0.1:{self.nats_port}"
        self.nats = Process(nats_command(folder / "nats", port=self.nats_port), log=folder / "nats.log")
        environment = {
            "WL_NATS_URL": self.nats_url,
            "WL_TOKEN": TOKEN,
            "WL_DATA_DIR": str(folder),
            "WL_STOP_SECS": "40",
            "GRPC_BACKEND_PORT": str(self.grpc_port),
            "ENVOY_PORT": str(self.web_port),
            "ENVOY_ADMIN_PORT": str(self.admin_port),
        }
        command = [sys.executable, "-m", "weightslab_gateway"]
        self.gateway = Process(command, log=folder / "gateway.log", environment=environment)

    def start(self) -> None:
        for process, port in ((self.nats, self.nats_port), (self.gateway, self.web_port)):
            process.start()
            wait_until(lambda port=port: accepts(port), what=f"port {port} answers")  # type: ignore[misc]

    def ready(self) -> bool:
        return httpx.get(f"http://127.0.0.1:{self.admin_port}/readyz", timeout=20).status_code == 200

    def stop(self) -> None:
        self.gateway.kill()
        self.nats.kill()


@pytest.fixture
async def ending(tmp_path: Path) -> AsyncIterator[Ending]:
    async with contextlib.AsyncExitStack() as stack:
        ending = Ending(tmp_path)
        stack.callback(ending.stop)
        await asyncio.to_thread(ending.start)
        bus = await Bus.connect(ending.nats_url, name="peers")
        await bus.ensure_streams()
        stack.push_async_callback(bus.close)
        await LedgerPeer(bus, EXPERIMENT, point_count=10).start()
        await asyncio.to_thread(wait_until, ending.ready, what="the gateway is ready")
        yield ending


@contextlib.asynccontextmanager
async def _every_kind_of_client(ending: Ending) -> AsyncIterator[list[asyncio.Task[Status]]]:
    """Yields the tasks of the native viewers, which end with the status that they were told."""

    def connection(port: int, sent: bytes) -> socket.socket:
        opened = socket.socket()
        # Small, so that what it does not read stays with the gateway.
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        opened.connect(("127.0.0.1", port))
        opened.sendall(sent)
        return stack.enter_context(opened)

    async def native(api: Api, seen: asyncio.Event) -> Status:
        try:
            async for _ in api.experiments.watch(WatchRequest(experiment=EXPERIMENT)):
                seen.set()
        except GRPCError as error:
            return error.status
        raise AssertionError("the stream ended without a word")

    async with contextlib.AsyncExitStack() as stack:
        apis = [await stack.enter_async_context(Api(Channel("127.0.0.1", ending.grpc_port), TOKEN)) for _ in range(10)]
        first = [asyncio.Event() for _ in apis]
        natives = [asyncio.create_task(native(api, seen)) for api, seen in zip(apis, first, strict=True)]
        seen_web = asyncio.Event()
        for _ in range(20):
            viewer = await open_viewer(
                ending.web_port, EXPERIMENT, token=TOKEN, on_message=lambda message, at: seen_web.set()
            )
            stack.callback(viewer.close)
        watch = request_bytes(WATCH, bytes(WatchRequest(experiment=EXPERIMENT)), token=TOKEN)
        for sent in (watch, IMAGE.encode() * 20, IMAGE[:30].encode(), b""):
            for _ in range(5):
                connection(ending.web_port, sent)
        connection(ending.admin_port, b"")
        connection(ending.grpc_port, b"PRI * HT")
        await asyncio.gather(*(seen.wait() for seen in first), seen_web.wait())
        yield natives


async def test_every_kind_of_client_is_let_go(ending: Ending) -> None:
    async with _every_kind_of_client(ending) as natives:
        assert await asyncio.to_thread(ending.gateway.stop) == 0, ending.gateway.output()
        assert await asyncio.gather(*natives) == [Status.UNAVAILABLE] * len(natives)


@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL])
async def test_a_bus_that_answers_no_more_holds_nothing_up(ending: Ending, how: signal.Signals) -> None:
    async with _every_kind_of_client(ending) as natives:
        os.kill(ending.nats.pid, how)
        assert await asyncio.to_thread(ending.gateway.stop) == 0, ending.gateway.output()
        assert await asyncio.gather(*natives) == [Status.UNAVAILABLE] * len(natives)
