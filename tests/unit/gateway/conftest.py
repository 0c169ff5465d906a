"""A gateway in this process, on a real bus, and its peers."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from grpclib.client import Channel
from weightslab_common.bus import Bus
from weightslab_common.tokens import Tokens
from weightslab_gateway.service import Sockets, serve
from weightslab_gateway.settings import GatewaySettings

from tests.support.grpcweb import BINARY, GrpcWebClient
from tests.support.studio import TOKEN, VIEWER_TOKEN, Api
from tests.unit.gateway.peers import LedgerPeer, TrainerPeer

ORIGIN = "http://localhost:5173"


class Gateway:
    """A running gateway and how to reach it."""

    def __init__(self, settings: GatewaySettings, sockets: Sockets) -> None:
        self.settings = settings
        self.grpc_port = sockets.all_public["grpc"]
        self.web_port = Sockets.port(sockets.web)
        self.admin_port = Sockets.port(sockets.admin)
        self.web_url = f"http://127.0.0.1:{self.web_port}"
        self.admin_url = f"http://127.0.0.1:{self.admin_port}"
        self.tokens = Tokens(editor_token=TOKEN, viewer_token=VIEWER_TOKEN)

    def api(self, token: str = TOKEN) -> Api:
        return Api(Channel("127.0.0.1", self.grpc_port), token)

    @contextlib.asynccontextmanager
    async def web(self, token: str = TOKEN, content_type: str = BINARY) -> AsyncIterator[GrpcWebClient]:
        client = GrpcWebClient(self.web_url, token=token, content_type=content_type)
        try:
            yield client
        finally:
            await client.close()

    async def metric(self, name: str) -> float:
        """The value of the first metric whose line begins with `name`."""
        async with httpx.AsyncClient(base_url=self.admin_url, timeout=20) as http:
            lines = (await http.get("/metrics")).text.splitlines()
        return float(next(line.split()[-1] for line in lines if line.startswith(name)))

    def http(self, **headers: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.web_url, headers=headers, timeout=10)


@contextlib.asynccontextmanager
async def running_gateway(nats_url: str, folder: Path, **changes: object) -> AsyncIterator[Gateway]:
    """A gateway on free ports with the tokens of the tests."""
    ports = {"grpc_port": 0, "web_port": 0, "admin_port": 0}
    given = {"nats_url": nats_url, "data_dir": folder, "token": TOKEN, "viewer_token": VIEWER_TOKEN, **ports, **changes}
    settings = GatewaySettings(**given)  # type: ignore[arg-type]
    sockets = Sockets.open(settings)
    gateway = Gateway(settings, sockets)
    async with serve(settings, sockets):
        yield gateway


@pytest.fixture
async def bus(nats_url: str) -> AsyncIterator[Bus]:
    bus = await Bus.connect(nats_url, name="peers")
    await bus.ensure_streams()
    yield bus
    await bus.close()


@pytest.fixture
async def gateway(nats_url: str, tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running_gateway(nats_url, tmp_path) as gateway:
        yield gateway


@pytest.fixture
def experiment() -> str:
    """The bus is shared by the session: every test has an experiment of its own."""
    return f"x-{uuid.uuid4().hex[:12]}"


@pytest.fixture
async def ledger(bus: Bus, experiment: str) -> LedgerPeer:
    peer = LedgerPeer(bus, experiment, point_count=10)
    await peer.start()
    return peer


@pytest.fixture
async def trainer(bus: Bus, experiment: str) -> TrainerPeer:
    peer = TrainerPeer(bus, experiment)
    await peer.start()
    return peer
