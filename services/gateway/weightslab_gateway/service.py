"""Wires the gateway together and takes it apart in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass

from weightslab_common.admin import Admin
from weightslab_common.bus import Bus
from weightslab_common.bus_tls import context_of
from weightslab_common.http_server import HttpServer
from weightslab_common.ports import take_port
from weightslab_common.service import background
from weightslab_common.tokens import Tokens, load_or_create_token

from weightslab_gateway.auth_http import AuthHttp
from weightslab_gateway.connections import Connections
from weightslab_gateway.directory import Directory
from weightslab_gateway.doors import Doors
from weightslab_gateway.experiment_service import ExperimentService
from weightslab_gateway.guard import Guard
from weightslab_gateway.health import Health
from weightslab_gateway.http_protocol import protocol
from weightslab_gateway.hubs import Hubs
from weightslab_gateway.logins import Logins
from weightslab_gateway.media_http import MediaHttp
from weightslab_gateway.metrics import Metrics
from weightslab_gateway.peers import Peers
from weightslab_gateway.protocol.call import Limits
from weightslab_gateway.protocol_grpc.server import GrpcServer
from weightslab_gateway.protocol_grpcweb.handler import GrpcWeb
from weightslab_gateway.reflection import Descriptors, Reflection
from weightslab_gateway.sample_service import SampleService
from weightslab_gateway.services import Servable
from weightslab_gateway.settings import GatewaySettings
from weightslab_gateway.signal_service import SignalService
from weightslab_gateway.tls import server_context
from weightslab_gateway.web import Web

log = logging.getLogger(__name__)

GRACE_SECS = 2.0


@dataclass(frozen=True, slots=True)
class Sockets:
    """Where the gateway listens; `grpc` is None when it shares the port of `web`."""

    grpc: socket.socket | None
    web: socket.socket
    admin: socket.socket

    @classmethod
    def open(cls, settings: GatewaySettings) -> Sockets:
        """Take all ports. Raises PortBusy."""
        with contextlib.ExitStack() as taken:

            def take(port: int, setting: str) -> socket.socket:
                return taken.enter_context(take_port(host=settings.bind, port=port, setting=setting))

            sockets = cls(
                grpc=None if settings.single_port else take(settings.grpc_port, "GRPC_BACKEND_PORT"),
                web=take(settings.web_port, "ENVOY_PORT"),
                admin=take(settings.admin_port, "ENVOY_ADMIN_PORT"),
            )
            taken.pop_all()
        return sockets

    @property
    def all_public(self) -> dict[str, int]:
        """The ports by what is spoken there."""
        return {
            "grpc": self.port(self.grpc or self.web),
            "web": self.port(self.web),
            "admin": self.port(self.admin),
        }

    @staticmethod
    def port(taken: socket.socket) -> int:
        return int(taken.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Certified:
    """The TLS of each port, and of the bus; None where there is none."""

    grpc: ssl.SSLContext | None
    web: ssl.SSLContext | None
    bus: ssl.SSLContext | None

    @classmethod
    def of(cls, settings: GatewaySettings) -> Certified:
        """Read the files that the settings name. Raises BadCertificate."""
        return cls(
            grpc=_context(settings, "h2"),
            # Browsers offer both and must get the first; gRPC clients offer HTTP/2 alone.
            web=_context(settings, "http/1.1", *(["h2"] if settings.single_port else [])),
            bus=context_of(settings),
        )


def _context(settings: GatewaySettings, *protocols: str) -> ssl.SSLContext | None:
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    context = server_context(
        certificate=settings.tls_cert, key=settings.tls_key, client_authority=settings.tls_client_ca
    )
    context.set_alpn_protocols(list(protocols))
    return context


def tokens_of(settings: GatewaySettings) -> Tokens:
    """The tokens that count; makes the editor's at the first start."""
    editor_token = settings.token or load_or_create_token(settings.token_path)
    return Tokens(editor_token=editor_token, viewer_token=settings.viewer_token or None)


@contextlib.asynccontextmanager
async def serve(settings: GatewaySettings, sockets: Sockets) -> AsyncIterator[None]:
    """The running gateway, for as long as the context lasts."""
    tokens = tokens_of(settings)
    certified = Certified.of(settings)
    metrics = Metrics()
    bus = Bus.not_yet_connected()
    directory = Directory(bus)
    opening = asyncio.create_task(_open(bus, directory, settings=settings, metrics=metrics, tls=certified.bus))
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(bus.close)
        await stack.enter_async_context(background(opening))
        hubs = Hubs(bus=bus, directory=directory, metrics=metrics)
        stack.push_async_callback(hubs.close)
        doors = Doors(tokens, calls_per_sec=settings.max_calls_per_sec)
        guard = Guard(doors=doors, metrics=metrics, max_calls=settings.max_calls)
        mapping = guard.wrap(_services(bus, directory, hubs, max_watch_secs=settings.max_watch_secs))
        limits = Limits(max_message_bytes=settings.max_message_bytes, send_timeout_secs=settings.send_timeout_secs)
        connections = Connections(max_count=settings.max_connections, metrics=metrics)
        grpc = GrpcServer(mapping, limits=limits, counted=connections)
        media = MediaHttp(
            bus=bus, directory=directory, doors=doors, metrics=metrics, cache_bytes=settings.media_cache_bytes
        )
        stack.push_async_callback(media.close)
        web = HttpServer(
            Web(
                grpc_web=GrpcWeb(mapping, limits=limits),
                media=media,
                auth=AuthHttp(Logins(doors), metrics=metrics, secure_cookie=settings.secure_cookie),
                hosts=settings.allowed_hosts,
                origins=settings.origins,
            ),
            tls=certified.web,
            protocol=protocol(connections, http2=grpc.protocol if settings.single_port else None),
        )
        admin = HttpServer(
            Admin(registry=metrics.registry, missing=directory.missing_parts, is_stopping=lambda: guard.stopping)
        )
        await admin.start(sockets.admin)
        stack.push_async_callback(admin.close)
        await web.start(sockets.web)
        stack.push_async_callback(web.close)
        if sockets.grpc is not None:
            await grpc.start(sockets.grpc, tls=certified.grpc)
        # Before the web's: where they share a port, that one's end waits for every connection from Python 3.12 on.
        stack.push_async_callback(grpc.close, grace_secs=GRACE_SECS)
        # First of all when it stops: every caller is told, then connections are closed.
        stack.push_async_callback(guard.stop, grace_secs=GRACE_SECS)
        log.info("gateway serves", extra=sockets.all_public)
        yield


def _services(bus: Bus, directory: Directory, hubs: Hubs, *, max_watch_secs: float) -> list[Servable]:
    peers = Peers(bus, directory)
    descriptors = Descriptors.of_api()
    return [
        ExperimentService(peers=peers, directory=directory, hubs=hubs, max_watch_secs=max_watch_secs),
        SampleService(peers=peers),
        SignalService(peers=peers),
        Health(descriptors.services, is_ready=lambda: bus.connected),
        Reflection(descriptors),
    ]


async def _open(
    bus: Bus, directory: Directory, *, settings: GatewaySettings, metrics: Metrics, tls: ssl.SSLContext | None
) -> None:
    """Connect to the bus, however long it takes; what needs it is answered UNAVAILABLE until then."""
    await bus.open(
        settings.nats_url,
        name="gateway",
        token=settings.nats_token,
        tls=tls,
        on_disconnect=lambda: metrics.bus_connected.set(0),
        on_reconnect=lambda: metrics.bus_connected.set(1),
    )
    await directory.start()
    metrics.bus_connected.set(1)
    log.info("connected to the bus")
