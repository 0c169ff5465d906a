"""What a doctor looks at: which parts answer, in which version, and what to do about those that do not."""

from __future__ import annotations

import asyncio
import shutil
import time
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from urllib.parse import urlsplit

import nats.errors
import orjson
from weightslab_common import subjects
from weightslab_common.bus import STATUS_STREAM, Bus
from weightslab_common.bus_tls import told_context
from weightslab_common.embedded import is_free
from weightslab_common.errors import Unavailable, WeightsLabError
from weightslab_proto.weightslab.bus.v1 import ListLedgerExperimentsRequest, ListLedgerExperimentsResponse
from weightslab_proto.weightslab.v1 import RunStatus

from weightslab.studio import runfile
from weightslab.studio.probes import ANSWER_SECS, http_get
from weightslab.studio.settings import StudioSettings, port_uses

LOW_DISK_BYTES = 2 * 1024**3
LARGE_SKEW_SECS = 2.0
TRAINER_SILENCE_SECS = 5.0


class Health(StrEnum):
    """How a part is."""

    OK = "ok"
    # Works, or is not needed; worth knowing.
    NOTE = "note"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of one part. `advice`: what to do, when there is something."""

    part: str
    health: Health
    detail: str
    advice: str = ""


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
        _on_the_bus(where), _store(where.redis_url), _gateway(where.admin_port), _page(where.page_port)
    )
    findings = [_studio(settings, entry), on_bus[0], store, *on_bus[1:], gateway, page]
    if entry is None and gateway.health is not Health.OK:
        findings.append(_ports(settings))
    findings.append(_disk(settings))
    return findings


def _studio(settings: StudioSettings, entry: runfile.StudioEntry | None) -> Finding:
    if entry is None:
        return Finding(
            "studio", Health.NOTE, f"none runs in {settings.data_dir}", "start one: weightslab up, or weightslab demo"
        )
    names = ", ".join(f"{service.name} {service.pid}" for service in entry.services)
    return Finding("studio", Health.OK, f"{entry.state}, version {entry.version}, process {entry.pid} ({names})")


async def _on_the_bus(where: Whereabouts) -> list[Finding]:
    """Bus, ledger, trainer and clock: the last three are heard of on the bus."""
    if where.nats_url is None:
        return [Finding("bus", Health.MISSING, "no address is known", "start a studio, or set WL_NATS_URL")]
    began = time.monotonic()
    try:
        bus = await Bus.connect(
            where.nats_url, name="doctor", token=where.nats_token, tls=told_context(), wait_for_server=False
        )
    except Unavailable as error:
        return [
            Finding("bus", Health.MISSING, error.message, "check that NATS runs, WL_NATS_URL and WL_NATS_TOKEN"),
            Finding("ledger", Health.MISSING, "cannot be asked without the bus"),
        ]
    try:
        millis = (time.monotonic() - began) * 1000
        server = bus.client.connected_server_version
        version = f"{server.major}.{server.minor}.{server.patch}"
        found = Finding("bus", Health.OK, f"{where.nats_url}, NATS {version}, connected in {millis:.0f} ms")
        return [found, await _ledger(bus), *await _trainers(bus), await _clock(bus)]
    finally:
        await bus.close()


async def _ledger(bus: Bus) -> Finding:
    try:
        answer = await bus.request(
            subjects.ledger(subjects.ALL_EXPERIMENTS, "list"),
            ListLedgerExperimentsRequest(),
            ListLedgerExperimentsResponse,
            timeout_secs=ANSWER_SECS,
            part="ledger",
        )
    except WeightsLabError as error:
        return Finding(
            "ledger", Health.MISSING, error.message, "start `python -m weightslab_ledger` with the same WL_NATS_URL"
        )
    held = ", ".join(
        f"{entry.experiment} (revision {entry.revision}, {entry.counters.active:,} of {entry.counters.total:,} active)"
        for entry in answer.experiments
    )
    return Finding("ledger", Health.OK, f"holds {held}" if held else "answers, and holds no experiment yet")


async def _trainers(bus: Bus) -> list[Finding]:
    try:
        info = await bus.js.stream_info(
            STATUS_STREAM.name or "", subjects_filter=subjects.subject("*", subjects.STATUS)
        )
    except (nats.errors.Error, TimeoutError):
        return [Finding("trainer", Health.NOTE, "none was ever seen", "start a training run that calls wl.serve()")]
    found = []
    for name in sorted(map(subjects.experiment_of, info.state.subjects or {})):
        stored = await bus.last_status(name)
        if stored:
            found.append(_trainer(name, RunStatus().parse(stored)))
    advice = "start a training run that calls wl.serve()"
    return found or [Finding("trainer", Health.NOTE, "none was ever seen", advice)]


def _trainer(name: str, status: RunStatus) -> Finding:
    silent_secs = time.time() - status.sent_unix_ms / 1000
    state = f"{name}: {status.state.name or ''}, step {status.step}, {status.steps_per_sec:.1f} steps/s".lower()
    if silent_secs > TRAINER_SILENCE_SECS:
        return Finding(
            "trainer",
            Health.NOTE,
            f"{name}: last heard {_ago(silent_secs)} ago at step {status.step}",
            "if it should run: check its process, and that it has this WL_NATS_URL",
        )
    if status.dropped_values:
        return Finding(
            "trainer", Health.NOTE, state, f"{status.dropped_values} values were dropped: the bus was away too long"
        )
    return Finding("trainer", Health.OK, f"{state}, version {status.version}")


async def _clock(bus: Bus) -> Finding:
    """Compare our clock with the bus's, which stamps what is stored."""
    try:
        before = time.time()
        answer = await bus.client.request(f"$JS.API.STREAM.INFO.{STATUS_STREAM.name}", b"", timeout=ANSWER_SECS)
        after = time.time()
        server = datetime.fromisoformat(_whole_micros(orjson.loads(answer.data)["ts"])).timestamp()
    except (nats.errors.Error, TimeoutError, KeyError, ValueError):
        return Finding("clock", Health.NOTE, "the bus does not tell its time")
    skew_secs = server - (before + after) / 2
    if abs(skew_secs) > LARGE_SKEW_SECS:
        return Finding(
            "clock", Health.NOTE, f"the bus is {skew_secs:+.1f} s off", "let both machines set their clocks by NTP"
        )
    return Finding("clock", Health.OK, f"{abs(skew_secs) * 1000:.0f} ms from the bus")


def _whole_micros(text: str) -> str:
    """`text` without the nanoseconds that datetime does not read."""
    head, dot, tail = text.rstrip("Z").partition(".")
    return f"{head}{dot}{tail[:6]}+00:00"


async def _store(url: str | None) -> Finding:
    if url is None:
        return Finding(
            "store", Health.NOTE, "no address is known here", "the ledger knows it; set WL_REDIS_URL to check"
        )
    parts = urlsplit(url)
    host, port = parts.hostname or "127.0.0.1", parts.port or 6379
    lines = [f"AUTH {parts.password}"] if parts.password else []
    try:
        async with asyncio.timeout(ANSWER_SECS):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write("".join(f"{line}\r\n" for line in [*lines, "CONFIG GET appendfsync", "QUIT"]).encode())
                answer = (await reader.read(-1)).decode("utf-8", "replace")
            finally:
                writer.close()
    except (OSError, TimeoutError) as error:
        return Finding(
            "store", Health.MISSING, f"{host}:{port} does not answer: {error}", "check that Redis runs and WL_REDIS_URL"
        )
    if "NOAUTH" in answer or "WRONGPASS" in answer:
        return Finding("store", Health.MISSING, f"{host}:{port} refuses the password", "check WL_REDIS_URL")
    if "appendfsync" in answer and "always" not in answer:
        return Finding(
            "store", Health.NOTE, f"{host}:{port}", "set appendfsync to always: else an edit can be lost in a crash"
        )
    return Finding("store", Health.OK, f"{host}:{port}, every write is on disk before it is answered")


async def _gateway(port: int) -> Finding:
    answer = await http_get("127.0.0.1", port, "/readyz")
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
    return Finding("gateway", Health.OK, f"ready, health and metrics at port {port}")


async def _page(port: int) -> Finding:
    answer = await http_get("127.0.0.1", port, "/healthz")
    if answer is None or answer.status != 200:
        what = "nothing answers" if answer is None else f"status {answer.status}"
        return Finding("page", Health.MISSING, f"{what} at port {port}", "start the studio; check VITE_PORT")
    return Finding("page", Health.OK, f"http://localhost:{port}")


def _ports(settings: StudioSettings) -> Finding:
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


def _ago(seconds: float) -> str:
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
