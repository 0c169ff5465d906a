"""The gateway without its bus: it serves, says what is missing, and goes on by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import httpx
import pytest
from grpclib import GRPCError
from grpclib.const import Status
from weightslab_common.bus import Bus
from weightslab_common.embedded import free_port, nats_command
from weightslab_proto.grpc.health.v1 import HealthCheckRequest, HealthCheckResponseServingStatus, HealthStub
from weightslab_proto.weightslab.v1 import ListExperimentsRequest, QuerySamplesRequest, WatchRequest

from tests.support.processes import Process, accepts, wait_until
from tests.unit.gateway.conftest import Gateway, running_gateway
from tests.unit.gateway.peers import LedgerPeer


class Server:
    """A NATS server of one test, killed and started again at the same port."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self.process = Process(nats_command(folder / "nats", port=self.port), log=folder / "nats.log")

    async def start(self) -> None:
        self.process.start()
        await asyncio.to_thread(lambda: wait_until(lambda: accepts(self.port), what="NATS listens"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    yield server
    server.process.stop()


@pytest.fixture
async def alone(server: Server, tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway whose bus is not there."""
    async with asyncio.timeout(5):
        context = running_gateway(server.url, tmp_path)
        gateway = await context.__aenter__()
    yield gateway
    await context.__aexit__(None, None, None)


async def _until(condition: Callable[[], Awaitable[bool]], *, timeout_secs: float = 20) -> None:
    async with asyncio.timeout(timeout_secs):
        # Another process answers: there is nothing to be woken by.
        while not await condition():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def _readiness(gateway: Gateway) -> tuple[int, list[str]]:
    async with httpx.AsyncClient(base_url=gateway.admin_url, timeout=10) as http:
        response = await http.get("/readyz")
        return response.status_code, response.json()["missing"]


async def _assert_says_that_the_bus_is_missing(gateway: Gateway, experiment: str) -> None:
    assert await _readiness(gateway) == (503, ["bus", "ledger"])
    async with gateway.api() as api:
        for call in (
            api.experiments.list_experiments(ListExperimentsRequest()),
            api.samples.query_samples(QuerySamplesRequest(experiment=experiment)),
            anext(aiter(api.experiments.watch(WatchRequest(experiment="never-heard-of")))),
        ):
            with pytest.raises(GRPCError) as caught:
                await call
            assert caught.value.status is Status.UNAVAILABLE
            assert "NATS" in str(caught.value.message)
        health = await HealthStub(api._channel).check(HealthCheckRequest())
        assert health.status == HealthCheckResponseServingStatus.NOT_SERVING


async def test_it_serves_before_there_is_a_bus_and_works_when_there_is_one(
    alone: Gateway, server: Server, experiment: str
) -> None:
    await _assert_says_that_the_bus_is_missing(alone, experiment)
    await server.start()
    bus = await Bus.connect(server.url, name="peers")
    await bus.ensure_streams()
    await LedgerPeer(bus, experiment, point_count=10).start()

    async def ready() -> bool:
        return await _readiness(alone) == (200, [])

    await _until(ready)
    async with alone.api() as api:
        listed = await api.experiments.list_experiments(ListExperimentsRequest())
    assert [entry.experiment for entry in listed.experiments] == [experiment]
    await bus.close()


async def test_a_killed_bus_is_named_and_a_watching_viewer_goes_on_when_it_is_back(
    alone: Gateway, server: Server, experiment: str
) -> None:
    await server.start()
    bus = await Bus.connect(server.url, name="peers")
    await bus.ensure_streams()
    ledger = LedgerPeer(bus, experiment, point_count=10)
    await ledger.start()

    async def ready() -> bool:
        return await _readiness(alone) == (200, [])

    await _until(ready)
    async with alone.api() as api:
        stream = aiter(api.experiments.watch(WatchRequest(experiment=experiment)))

        async def read_until(missing: bool) -> None:
            async with asyncio.timeout(20):
                while True:
                    availability = (await anext(stream)).availability
                    if availability and ("bus" in availability.missing) is missing:
                        return

        await read_until(missing=False)
        await asyncio.to_thread(server.process.kill)
        await read_until(missing=True)
        await _assert_says_that_the_bus_is_missing(alone, experiment)
        await server.start()
        await _until(ready)
        await ledger.edit()
        async with asyncio.timeout(20):
            while not (await anext(stream)).edits:
                pass
    await bus.close()


async def test_it_stops_in_order_while_it_waits_for_the_bus(server: Server, tmp_path: Path) -> None:
    async with asyncio.timeout(10):
        async with running_gateway(server.url, tmp_path):
            pass
