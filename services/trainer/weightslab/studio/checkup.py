"""What a doctor looks at: which parts answer, in which version, and what to do about those that do not."""

from __future__ import annotations

import asyncio
import re
import shutil
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

import orjson
from weightslab_common.embedded import is_free

from weightslab.studio import runfile
from weightslab.studio.bus_checkup import on_the_bus
from weightslab.studio.findings import Finding, Health, well
from weightslab.studio.plan import LOOPBACK, reachable
from weightslab.studio.probes import ANSWER_SECS, TcpProbe, http_get
from weightslab.studio.settings import StudioSettings, port_uses

LOW_DISK_BYTES = 2 * 1024**3


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where the parts are looked for."""

    nats_url: str | None
    nats_token: str | None
    redis_url: str | None
    admin_port: int
    page_port: int


def whereabouts(settings: StudioSettings) -> Whereabouts:
    """As set, else where the studio that runs in the data folder has them."""
    entry = runfile.running(settings.data_dir)
    if entry is None:
        return Whereabouts(
            settings.nats_url, settings.nats_token, settings.redis_url, settings.admin_port, settings.page_port
        )
    return Whereabouts(
        nats_url=entry.nats_url,
        nats_token=settings.nats_token or runfile.nats_token(settings.data_dir),
        redis_url=entry.redis_url,
        admin_port=entry.admin_port,
        page_port=entry.page_port,
    )


async def examine(settings: StudioSettings) -> list[Finding]:
    """Look at every part, at most some seconds in all."""
    where = whereabouts(settings)
    entry = runfile.running(settings.data_dir)
    on_bus, store, gateway, page = await asyncio.gather(
        on_the_bus(where.nats_url, where.nats_token),
        _store(where.redis_url),
        _gateway(reachable(settings.gateway_bind), where.admin_port),
        _page(reachable(settings.page_bind), where.page_port),
    )
    findings = [_studio(settings, entry), on_bus[0], store, *on_bus[1:], gateway, page]
    if entry:
        findings.append(await _ports_in_use(entry, settings))
    elif gateway.health is Health.MISSING:
        findings.append(_ports_to_take(settings))
    findings.append(_disk(settings))
    return findings


def _studio(settings: StudioSettings, entry: runfile.StudioEntry | None) -> Finding:
    if entry is None:
        return Finding(
            "studio", Health.NOTE, f"none runs in {settings.data_dir}", "start one: weightslab up, or weightslab demo"
        )
    names = ", ".join(f"{service.name} {service.pid}" for service in entry.services)
    return well("studio", f"{entry.state}, process {entry.pid} ({names})", version=entry.version)


async def _store(url: str | None) -> Finding:
    if url is None:
        return Finding(
            "store", Health.NOTE, "no address is known here", "the ledger knows it; set WL_REDIS_URL to check"
        )
    parts = urlsplit(url)
    host, port = parts.hostname or "127.0.0.1", parts.port or 6379
    login = [f"AUTH {unquote(parts.password)}"] if parts.password else []
    lines = [*login, "CONFIG GET appendfsync", "INFO server", "QUIT"]
    try:
        async with asyncio.timeout(ANSWER_SECS):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write("".join(f"{line}\r\n" for line in lines).encode())
                answer = (await reader.read(-1)).decode("utf-8", "replace")
            finally:
                writer.close()
    except (OSError, TimeoutError) as error:
        return Finding(
            "store", Health.MISSING, f"{host}:{port} does not answer: {error}", "check that Redis runs and WL_REDIS_URL"
        )
    if "NOAUTH" in answer or "WRONGPASS" in answer:
        return Finding("store", Health.MISSING, f"{host}:{port} refuses the password", "check WL_REDIS_URL")
    synced = re.search(r"^appendfsync\r\n\$\d+\r\n(\w+)", answer, re.M)
    if synced and synced[1] != "always":
        return Finding(
            "store", Health.NOTE, f"{host}:{port}", "set appendfsync to always: else an edit can be lost in a crash"
        )
    return Finding(
        "store", Health.OK, f"{host}:{port}, {_store_version(answer)}, every write is on disk before it is answered"
    )


def _store_version(answer: str) -> str:
    """Name and version of a server, by what it says to `INFO server`."""
    said = dict(re.findall(r"^(\w+):(.*?)\r?$", answer, re.M))
    for key, name in (("valkey_version", "Valkey"), ("redis_version", "Redis")):
        if key in said:
            return f"{name} {said[key]}"
    return "of unknown version"


async def _gateway(host: str, port: int) -> Finding:
    answer = await http_get(host, port, "/readyz")
    if answer is None:
        return Finding(
            "gateway",
            Health.MISSING,
            f"nothing answers at port {port} (health and metrics)",
            "start the studio; check ENVOY_ADMIN_PORT",
        )
    text = " ".join(answer.body.decode("utf-8", "replace").split())
    if answer.status != 200:
        return Finding("gateway", Health.MISSING, f"not ready: {text[:200]}", "see the parts above")
    return well("gateway", f"ready, health and metrics at port {port}", version=await _version(host, port, "/healthz"))


async def _page(host: str, port: int) -> Finding:
    answer = await http_get(host, port, "/healthz")
    if answer is None or answer.status != 200:
        what = "nothing answers" if answer is None else f"status {answer.status}"
        return Finding("page", Health.MISSING, f"{what} at port {port}", "start the studio; check VITE_PORT")
    return well("page", f"http://localhost:{port}", version=await _version(host, port, "/config.json"))


async def _version(host: str, port: int, path: str) -> str:
    """The `version` in what a server answers; empty when there is none."""
    answer = await http_get(host, port, path)
    try:
        return str(orjson.loads(answer.body)["version"]) if answer else ""
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return ""


async def _ports_in_use(entry: runfile.StudioEntry, settings: StudioSettings) -> Finding:
    """Whether every port of a running studio takes connections."""
    gateway, page = reachable(settings.gateway_bind), reachable(settings.page_bind)
    # The first server of a cluster.
    bus, store = urlsplit(entry.nats_url.split(",")[0]), urlsplit(entry.redis_url)
    uses = [
        ("page", page, entry.page_port),
        ("gRPC-Web", gateway, entry.web_port),
        ("gRPC", gateway, entry.grpc_port),
        ("admin", gateway, entry.admin_port),
        ("bus", bus.hostname or LOOPBACK, bus.port or 4222),
        ("store", store.hostname or LOOPBACK, store.port or 6379),
    ]
    listening = await asyncio.gather(*(TcpProbe(host, port).ready() for _, host, port in uses))
    closed = [f"{name} {port}" for (name, _, port), listens in zip(uses, listening, strict=True) if not listens]
    if closed:
        return Finding(
            "ports", Health.MISSING, f"nothing listens at {', '.join(closed)}", "see run/studio.log in the data folder"
        )
    return Finding("ports", Health.OK, ", ".join(f"{name} {port}" for name, _, port in uses))


def _ports_to_take(settings: StudioSettings) -> Finding:
    busy = [f"{use.port} ({use.purpose}, {use.variable})" for use in port_uses(settings) if not is_free(use.port)]
    if busy:
        return Finding(
            "ports", Health.NOTE, f"busy: {', '.join(busy)}", "end what listens there, or set other ports before up"
        )
    return Finding("ports", Health.OK, "all that a studio needs are free")


def _disk(settings: StudioSettings) -> Finding:
    folder = settings.data_dir.resolve()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    text = f"{free / 1024**3:.1f} GiB free at {folder}"
    if free < LOW_DISK_BYTES:
        return Finding("disk", Health.NOTE, text, "free some space: bus, store and checkpoints are kept there")
    return Finding("disk", Health.OK, text)
