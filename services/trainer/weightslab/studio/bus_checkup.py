"""What a doctor hears on the bus: the bus itself, ledger, trainers and clock."""

from __future__ import annotations

import time
from datetime import datetime

import nats.errors
import orjson
from weightslab_common import subjects
from weightslab_common.bus import STATUS_STREAM, Bus, shown
from weightslab_common.bus_tls import told_context
from weightslab_common.errors import Unavailable, WeightsLabError
from weightslab_common.ledger_health import ledger_health
from weightslab_proto.weightslab.bus.v1 import ListLedgerExperimentsRequest, ListLedgerExperimentsResponse
from weightslab_proto.weightslab.v1 import RunStatus

from weightslab.studio.findings import Finding, Health, well
from weightslab.studio.probes import ANSWER_SECS

LARGE_SKEW_SECS = 2.0
TRAINER_SILENCE_SECS = 5.0


async def on_the_bus(url: str | None, token: str | None) -> list[Finding]:
    """Bus, ledger, trainer and clock: the last three are heard of on the bus."""
    if url is None:
        return [Finding("bus", Health.MISSING, "no address is known", "start a studio, or set WL_NATS_URL")]
    began = time.monotonic()
    try:
        bus = await Bus.connect(url, name="doctor", token=token, tls=told_context(), wait_for_server=False)
    except Unavailable as error:
        return [
            Finding("bus", Health.MISSING, error.message, "check that NATS runs, WL_NATS_URL and WL_NATS_TOKEN"),
            Finding("ledger", Health.MISSING, "cannot be asked without the bus"),
        ]
    try:
        millis = (time.monotonic() - began) * 1000
        server = bus.client.connected_server_version
        version = f"{server.major}.{server.minor}.{server.patch}"
        found = Finding("bus", Health.OK, f"{shown(url)}, NATS {version}, connected in {millis:.0f} ms")
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
    if not answer.experiments:
        return Finding("ledger", Health.OK, "answers, and holds no experiment yet")
    return well("ledger", f"holds {held}", version=await _ledger_version(bus, answer.experiments[0].experiment))


async def _ledger_version(bus: Bus, experiment: str) -> str:
    """The version of the ledger that holds an experiment; empty when it does not tell."""
    try:
        return (await ledger_health(bus, experiment, timeout_secs=ANSWER_SECS)).version
    except WeightsLabError:
        return ""


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
    if status.dropped_predictions:
        return Finding(
            "trainer",
            Health.NOTE,
            state,
            f"predictions of {status.dropped_predictions} samples are not kept: too many at once, or the disk is full",
        )
    return well("trainer", state, version=status.version)


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


def _ago(seconds: float) -> str:
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
