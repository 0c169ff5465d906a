"""Connections that say nothing, that are too many, or whose client has vanished; and both protocols on one port."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
import httpx
import pytest
from grpclib.client import Channel
from weightslab_common import ports
from weightslab_common.ports import take_port
from weightslab_gateway import connections
from weightslab_gateway.single_port import PREFACE
from weightslab_proto.grpc.health.v1 import HealthCheckRequest, HealthCheckResponseServingStatus, HealthStub
from weightslab_proto.weightslab.v1 import QuerySamplesRequest, QuerySamplesResponse, WatchRequest

from tests.support.certificates import Files
from tests.support.grpcweb import BINARY
from tests.unit.gateway.conftest import Gateway, running_gateway
from tests.unit.gateway.peers import LedgerPeer
from tests.unit.gateway.test_watch import watching

CUT_OFF_SECS = 30


async def _is_cut_off(port: int, said: bytes) -> bool:
    """Whether a client that says this and no more is cut off without an answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(said)
    try:
        async with asyncio.timeout(CUT_OFF_SECS):
            # A server of HTTP/2 says its settings before it is asked anything.
            return b"HTTP/" not in await reader.read()
    except ConnectionResetError:
        return True
    finally:
        writer.close()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "FIRST_BYTES_SECS", 1.5)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("single_port", [False, True])
async def test_a_client_that_begins_no_request_is_cut_off(nats_url: str, tmp_path: Path, single_port: bool) -> None:
    async with running_gateway(nats_url, tmp_path, single_port=single_port) as gateway:
        half = b"GET /media/x/y/1 HTTP/1.1\r\nhost: localhost\r\nx-slow: "
        cases = [(gateway.web_port, b""), (gateway.web_port, half), (gateway.grpc_port, b"")]
        if single_port:
            cases.append((gateway.grpc_port, PREFACE[:10]))
        assert await asyncio.gather(*(_is_cut_off(port, said) for port, said in cases)) == [True] * len(cases)
        assert await gateway.metric("wl_gateway_connections ") == 0


@pytest.mark.usefixtures("hasty")
async def test_a_client_whose_request_runs_is_left_alone(gateway: Gateway, ledger: LedgerPeer) -> None:
    for transport in ("grpc", BINARY):
        async with watching(gateway, WatchRequest(experiment=ledger.experiment), transport) as viewer:
            await viewer.read()
            await asyncio.sleep(2)
            await ledger.grow(1)
            await viewer.until(lambda viewer=viewer: viewer.point_count == ledger.point_count)  # type: ignore[misc]


async def test_beyond_the_greatest_number_connections_are_cut_off_and_the_others_stay(
    nats_url: str, tmp_path: Path, ledger: LedgerPeer
) -> None:
    async with running_gateway(nats_url, tmp_path, max_connections=3) as gateway, contextlib.AsyncExitStack() as stack:
        api = await stack.enter_async_context(gateway.api())
        request = QuerySamplesRequest(experiment=ledger.experiment, filter="x")
        await api.samples.query_samples(request)
        for _ in range(2):
            _, writer = await asyncio.open_connection("127.0.0.1", gateway.web_port)
            stack.callback(writer.close)
        # Nothing tells when a number has changed.
        while await gateway.metric("wl_gateway_connections ") < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        for port in (gateway.web_port, gateway.grpc_port):
            assert await _is_cut_off(port, PREFACE if port == gateway.grpc_port else b"GET / HTTP/1.1\r\n\r\n")
        assert (await api.samples.query_samples(request)).uids == ["x"]
        assert await gateway.metric("wl_gateway_connections_refused_total") == 2


def test_the_system_gives_up_clients_that_vanish() -> None:
    """Nobody can cut a cable here: what the system is told to do then is looked at on an accepted connection."""
    with (
        take_port(host="127.0.0.1", port=0, setting="ENVOY_PORT") as listening,
        socket.create_connection(listening.getsockname()),
    ):
        listening.setblocking(True)
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == ports.KEEPALIVE_SECS
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == ports.UNACKNOWLEDGED_MS


class TestOnePort:
    @pytest.fixture
    async def single(self, nats_url: str, tmp_path: Path) -> AsyncIterator[Gateway]:
        async with running_gateway(nats_url, tmp_path, single_port=True) as gateway:
            assert gateway.grpc_port == gateway.web_port
            yield gateway

    async def test_every_kind_of_client_is_served(self, single: Gateway, ledger: LedgerPeer) -> None:
        request = QuerySamplesRequest(experiment=ledger.experiment, filter="日本")
        async with single.api() as api, single.web() as web, single.http() as http:
            assert (await api.samples.query_samples(request)).uids == ["日本"]
            path = "/weightslab.v1.SampleService/QuerySamples"
            assert (await web.unary(path, request, QuerySamplesResponse)).uids == ["日本"]
            assert (await http.get("/auth/session")).status_code == 401
        async with grpc.aio.insecure_channel(f"127.0.0.1:{single.grpc_port}") as channel:
            check = channel.unary_unary("/grpc.health.v1.Health/Check")
            assert await check(bytes(HealthCheckRequest()), timeout=20)

    @pytest.mark.parametrize("size", [1, 3, len(PREFACE) - 1])
    async def test_first_bytes_may_come_in_pieces(self, single: Gateway, size: int) -> None:
        for said, answer in (
            (b"PROPFIND / HTTP/1.1\r\nhost: localhost\r\n\r\n", b"HTTP/1.1"),
            # An empty SETTINGS frame, which every HTTP/2 server answers by its own.
            (PREFACE + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00", b"\x00"),
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", single.web_port)
            for start in range(0, len(said), size):
                writer.write(said[start : start + size])
                await writer.drain()
                await asyncio.sleep(0)
            async with asyncio.timeout(20):
                assert (await reader.read(8)).startswith(answer)
            writer.close()

    async def test_viewers_of_both_kinds_are_told_of_the_end(
        self, nats_url: str, tmp_path: Path, ledger: LedgerPeer
    ) -> None:
        ends = []
        async with contextlib.AsyncExitStack() as stack:
            async with running_gateway(nats_url, tmp_path, single_port=True) as single:
                request = WatchRequest(experiment=ledger.experiment)
                for transport in ("grpc", BINARY):
                    viewer = await stack.enter_async_context(watching(single, request, transport))
                    await viewer.read()
                    ends.append(asyncio.create_task(viewer.until(lambda: False)))
            outcomes = await asyncio.gather(*ends, return_exceptions=True)
        assert ["stopping" in str(outcome) for outcome in outcomes] == [True, True], outcomes

    async def test_with_tls_browsers_get_http_1_and_grpc_clients_http_2(self, nats_url: str, tmp_path: Path) -> None:
        files = Files.make(tmp_path / "certificates")
        given = {"single_port": True, "tls_cert": files.server_cert, "tls_key": files.server_key}
        async with running_gateway(nats_url, tmp_path, **given) as gateway:
            for offered, chosen in ((["h2", "http/1.1"], "http/1.1"), (["h2"], "h2")):
                context = files.client()
                context.set_alpn_protocols(offered)
                _, writer = await asyncio.open_connection("127.0.0.1", gateway.web_port, ssl=context)
                transport_ssl: ssl.SSLObject = writer.get_extra_info("ssl_object")
                assert transport_ssl.selected_alpn_protocol() == chosen
                writer.close()
            context = files.client()
            context.set_alpn_protocols(["h2"])
            async with Channel("127.0.0.1", gateway.web_port, ssl=context) as channel:
                reply = await HealthStub(channel).check(HealthCheckRequest(), timeout=20)
            assert reply.status == HealthCheckResponseServingStatus.SERVING
            url = f"https://127.0.0.1:{gateway.web_port}"
            async with httpx.AsyncClient(base_url=url, verify=files.client(), timeout=20) as http:
                assert (await http.get("/auth/session")).status_code == 401
