"""TLS and certificates of clients, at both public ports and towards the bus."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from grpclib.client import Channel
from grpclib.exceptions import StreamTerminatedError
from weightslab_common.bus import Bus
from weightslab_common.bus_tls import BadCertificate, bus_context
from weightslab_common.embedded import free_port, nats_command
from weightslab_common.errors import Unavailable
from weightslab_gateway.settings import GatewaySettings
from weightslab_gateway.tls import server_context
from weightslab_proto.grpc.health.v1 import HealthCheckRequest, HealthCheckResponseServingStatus, HealthStub

from tests.support.certificates import Files
from tests.support.processes import Process, accepts, wait_until
from tests.support.studio import TOKEN
from tests.unit.gateway.conftest import ORIGIN, Gateway, running_gateway


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files.make(tmp_path / "certificates")


@asynccontextmanager
async def _serving(nats_url: str, folder: Path, files: Files, **changes: object) -> AsyncIterator[Gateway]:
    given = {"tls_cert": files.server_cert, "tls_key": files.server_key, **changes}
    async with running_gateway(nats_url, folder, **given) as gateway:
        yield gateway


async def _serves_grpc(gateway: Gateway, context: ssl.SSLContext | None) -> bool:
    if context is not None:
        context.set_alpn_protocols(["h2"])
    channel = Channel("127.0.0.1", gateway.grpc_port, ssl=context)
    try:
        reply = await HealthStub(channel).check(HealthCheckRequest(), timeout=5)
    finally:
        channel.close()
    return reply.status == HealthCheckResponseServingStatus.SERVING


def _http(gateway: Gateway, context: ssl.SSLContext, scheme: str = "https") -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"{scheme}://127.0.0.1:{gateway.web_port}", verify=context, timeout=5)


async def test_both_ports_speak_tls_and_the_cookie_is_for_tls_only(nats_url: str, tmp_path: Path, files: Files) -> None:
    async with _serving(nats_url, tmp_path, files) as gateway:
        assert await _serves_grpc(gateway, files.client())
        async with _http(gateway, files.client()) as http:
            told = await http.post("/auth/session", json={"token": TOKEN}, headers={"origin": ORIGIN})
            assert told.status_code == 200
            assert "; secure" in told.headers["set-cookie"].lower()


async def test_without_tls_nothing_is_answered(nats_url: str, tmp_path: Path, files: Files) -> None:
    async with _serving(nats_url, tmp_path, files) as gateway:
        with pytest.raises((OSError, StreamTerminatedError)):
            await _serves_grpc(gateway, None)
        async with _http(gateway, files.client(), scheme="http") as http:
            with pytest.raises(httpx.TransportError):
                await http.get("/auth/session")


async def test_a_client_without_a_certificate_of_our_authority_is_cut_off(
    nats_url: str, tmp_path: Path, files: Files
) -> None:
    strangers = Files.make(tmp_path / "strangers")
    stranger = files.client()
    stranger.load_cert_chain(strangers.client_cert, strangers.client_key)
    async with _serving(nats_url, tmp_path, files, tls_client_ca=files.authority) as gateway:
        assert await _serves_grpc(gateway, files.client(shows_certificate=True))
        async with _http(gateway, files.client(shows_certificate=True)) as http:
            assert (await http.get("/auth/session")).status_code == 401
        for refused in (files.client(), stranger):
            async with _http(gateway, refused) as http:
                with pytest.raises(httpx.TransportError):
                    await http.get("/auth/session")


def test_old_versions_of_tls_are_not_spoken(files: Files) -> None:
    context = server_context(certificate=files.server_cert, key=files.server_key, client_authority=None)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_a_key_of_another_certificate_is_told(files: Files, tmp_path: Path) -> None:
    with pytest.raises(BadCertificate, match="WL_TLS_KEY"):
        server_context(certificate=files.server_cert, key=files.client_key, client_authority=None)
    with pytest.raises(BadCertificate, match="No such file"):
        server_context(certificate=tmp_path / "none", key=files.server_key, client_authority=None)
    with pytest.raises(BadCertificate, match="WL_TLS_CLIENT_CA"):
        server_context(certificate=files.server_cert, key=files.server_key, client_authority=files.server_key)
    with pytest.raises(BadCertificate, match="WL_NATS_CA"):
        bus_context(authority=tmp_path / "none", certificate=None, key=None)
    with pytest.raises(BadCertificate, match="belong together"):
        bus_context(authority=None, certificate=None, key=files.server_key)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"tls_cert": "a"}, "WL_TLS_KEY"),
        ({"tls_client_ca": "a"}, "WL_TLS_CERT"),
        ({"bind": "0.0.0.0"}, "WL_TLS_CLIENT_CA"),
        ({"bind": "0.0.0.0", "tls_cert": "a", "tls_key": "b"}, "WL_TOKEN"),
    ],
)
def test_settings_that_do_not_fit_together_are_told(given: dict[str, str], told: str) -> None:
    settings = GatewaySettings(**given)  # type: ignore[arg-type]
    assert told in str(settings.fault)


def test_an_open_bind_is_fine_when_clients_show_certificates() -> None:
    given = {"bind": "0.0.0.0", "tls_cert": "a", "tls_key": "b", "tls_client_ca": "c"}
    assert GatewaySettings(**given).fault is None  # type: ignore[arg-type]


@pytest.fixture
def guarded_nats(files: Files, tmp_path: Path) -> Iterator[str]:
    """A NATS server that asks for a token and for certificates."""
    port = free_port()
    command = nats_command(tmp_path / "nats", port=port, token="bus-token")
    with Path(command[-1]).open("a") as configuration:
        configuration.write(
            f'tls {{ cert_file: "{files.server_cert}", key_file: "{files.server_key}", '
            f'ca_file: "{files.authority}", verify: true }}\n'
        )
    process = Process(command, log=tmp_path / "nats.log")
    process.start()
    wait_until(lambda: accepts(port), what="NATS listens")
    yield f"tls://127.0.0.1:{port}"
    process.stop()


async def test_the_bus_is_reached_with_a_token_and_certificates(
    guarded_nats: str, files: Files, tmp_path: Path
) -> None:
    shown = {"nats_ca": files.authority, "nats_cert": files.client_cert, "nats_key": files.client_key}
    async with running_gateway(guarded_nats, tmp_path, nats_token="bus-token", **shown) as gateway:
        channel = Channel("127.0.0.1", gateway.grpc_port)
        async with asyncio.timeout(10):
            async for reply in HealthStub(channel).watch(HealthCheckRequest()):
                if reply.status == HealthCheckResponseServingStatus.SERVING:
                    break
        channel.close()


async def test_a_bus_with_another_authority_is_not_spoken_to(guarded_nats: str, files: Files, tmp_path: Path) -> None:
    strangers = Files.make(tmp_path / "strangers")
    for authority, token in ((strangers.authority, "bus-token"), (files.authority, "wrong")):
        context = bus_context(authority=authority, certificate=files.client_cert, key=files.client_key)
        with pytest.raises((Unavailable, TimeoutError)):
            async with asyncio.timeout(3):
                await Bus.connect(guarded_nats, name="test", token=token, tls=context, wait_for_server=False)
