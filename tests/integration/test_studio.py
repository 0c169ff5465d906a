"""`weightslab up` and `weightslab demo` from their start to their end."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest
from weightslab.studio import runfile
from weightslab.studio.session import first_curve
from weightslab_common.embedded import free_ports, nats_command, store_command

from tests.support.processes import PATIENCE_SECS, Process, accepts, wait_until
from tests.support.started import LINK, WEIGHTSLAB, Started, alive, answer, family_of, is_ready

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Started]:
    started = Started(tmp_path, "up")
    try:
        yield started
    finally:
        started.process.stop()


def test_up_prints_an_address_that_logs_in_and_ends_without_a_trace(up: Started) -> None:
    up.start()
    page = answer(up.page_port)
    assert page
    assert page.status_code == 200
    assert is_ready(up.admin_port)
    code = LINK.findall(up.process.output())[-1]
    origin = {"origin": f"http://localhost:{up.page_port}"}
    session = f"http://localhost:{up.web_port}/auth/session"
    first = httpx.post(session, json={"login": code}, headers=origin, timeout=PATIENCE_SECS)
    assert first.json()["role"] == "editor"
    assert httpx.post(session, json={"login": code}, headers=origin, timeout=PATIENCE_SECS).status_code == 401, (
        "a login works once"
    )
    records = [json.loads(line) for line in up.process.output().splitlines() if line.startswith("{")]
    assert {"gateway", "ledger", "ui"} <= {record["service"] for record in records}, (
        "one stream, JSON where no terminal is"
    )
    assert all({"time", "level", "message"} <= record.keys() for record in records)
    environment = up.command("config", "--env").stdout
    assert f"export WL_NATS_URL={up.entry.nats_url}\n" in environment
    assert f"export WL_NATS_TOKEN={runfile.nats_token(up.data_dir)}\n" in environment
    family = family_of(up.process.pid)
    assert len(family) >= 6
    assert up.process.stop() == 0, up.process.output()
    assert alive(family) == []
    assert not any(accepts(port) for port in (up.page_port, up.web_port, up.admin_port, up.grpc_port))
    assert runfile.running(up.data_dir) is None


def test_a_killed_service_comes_back_and_the_others_stay(up: Started) -> None:
    up.start()
    before = up.pids()
    for name in ("gateway", "ledger", "ui", "nats", "store"):
        os.kill(before[name], signal.SIGKILL)
        wait_until(partial(_is_new, up, name, before[name]), what=f"{name} is started again")
    wait_until(lambda: is_ready(up.admin_port) and accepts(up.page_port), what="all is ready again")
    assert "nats was ended by SIGKILL; starting it again" in up.process.output()
    findings: list[dict[str, str]] = []

    def well() -> bool:
        doctor = up.command("doctor", "--json")
        findings[:] = json.loads(doctor.stdout)
        return doctor.returncode == 0

    wait_until(well, what="the doctor finds nothing missing")
    health = {finding["part"]: finding["health"] for finding in findings}
    assert {"bus", "store", "ledger", "gateway", "page", "ports"} <= {
        part for part, value in health.items() if value == "ok"
    }


def _is_new(up: Started, name: str, old_pid: int) -> bool:
    return up.pids().get(name, old_pid) != old_pid


def test_when_the_studio_is_killed_nothing_is_left_and_the_next_start_works(up: Started) -> None:
    up.start()
    family, bus = family_of(up.process.pid), up.entry.nats_url
    up.process.kill()
    wait_until(lambda: not alive(family), what="every service has ended with it")
    assert runfile.running(up.data_dir) is None
    up.start()
    assert up.entry.nats_url == bus, "clients find the bus at its old address"


def test_a_busy_port_is_named_before_anything_is_started(up: Started) -> None:
    with socket.create_server(("127.0.0.1", up.web_port)):
        up.process.start()
        wait_until(lambda: not up.process.running, what="it gives up")
    assert up.process.stop() == 1
    assert f"port {up.web_port} for gRPC-Web and images is busy" in up.process.output()
    assert "--web-port or ENVOY_PORT" in up.process.output()
    assert not (up.data_dir / "nats").exists()


def test_in_development_page_and_services_follow_their_sources(tmp_path: Path) -> None:
    up = Started(tmp_path, "up", "--dev")
    try:
        up.start()
        page, config = answer(up.page_port), answer(up.page_port, "/config.json")
        assert page
        assert "/@vite/client" in page.text
        assert config
        assert config.json()["serverUrl"] == f"http://localhost:{up.web_port}"
        before = up.pids()
        spec = importlib.util.find_spec("weightslab_ledger")
        assert spec
        assert spec.origin
        # As an editor that saves it unchanged.
        os.utime(spec.origin)
        wait_until(partial(_is_new, up, "ledger", before["ledger"]), what="the ledger is started again")
        wait_until(lambda: is_ready(up.admin_port), what="all is ready again")
        assert {name: pid for name, pid in up.pids().items() if before[name] != pid}.keys() == {"ledger"}
        assert "has changed: starting ledger again" in up.process.output()
    finally:
        up.process.stop()


def test_servers_of_the_users_own_are_used_and_left_alone(tmp_path: Path) -> None:
    nats_port, store_port = free_ports(2)
    servers = [
        Process(nats_command(tmp_path / "nats", port=nats_port, token="secret"), log=tmp_path / "nats.log"),
        Process(store_command(tmp_path / "store", port=store_port, password="hidden"), log=tmp_path / "store.log"),
    ]
    own = {
        "WL_NATS_URL": f"nats://127.0.0.1:{nats_port}",
        "WL_NATS_TOKEN": "secret",
        "WL_REDIS_URL": f"redis://:hidden@127.0.0.1:{store_port}",
    }
    demo = Started(tmp_path, "demo", **own)
    try:
        for server in servers:
            server.start()
        wait_until(lambda: accepts(nats_port) and accepts(store_port), what="the servers listen")
        demo.start()
        assert demo.pids().keys() == {"ledger", "gateway", "ui", "trainer"}
        assert not (demo.data_dir / "nats").exists()
        assert not (demo.data_dir / "store").exists()
        assert demo.command("console", "-c", "discard 700 --loader train").returncode == 0
        assert "hidden" not in demo.command("doctor").stdout
        assert demo.process.stop() == 0, demo.process.output()
        assert all(server.running for server in servers), "they are not ours to end"
        demo.start()
        [edit] = json.loads(demo.command("export", "edits", "--format", "json").stdout)
        assert edit["operation"] == "discard", "what they keep is there after a restart"
        assert demo.command("fsck").returncode == 0
    finally:
        demo.process.stop()
        for server in servers:
            server.stop()
    assert "hidden" not in demo.process.output()
    assert "secret" not in demo.process.output()


def test_a_wrong_setting_is_one_sentence_and_status_2(up: Started) -> None:
    result = subprocess.run(
        [WEIGHTSLAB, "up", *up.arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECS,
        check=False,
        env={**os.environ, "WL_LOG_LEVEL": "LOUD"},
    )
    assert result.returncode == 2
    assert "setting WL_LOG_LEVEL" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_interrupt_while_starting_leaves_nothing(tmp_path: Path) -> None:
    demo = Started(tmp_path, "demo")
    demo.process.start()
    wait_until(lambda: "ready" in demo.process.output(), what="the first service is ready")
    family = family_of(demo.process.pid)
    assert demo.process.signal(signal.SIGINT) == 0, demo.process.output()
    assert alive(family) == []
    assert "Traceback" not in demo.process.output()


async def test_first_curve_says_when_there_is_none(nats_url: str) -> None:
    async with asyncio.timeout(PATIENCE_SECS):
        assert not await first_curve(nats_url, None, timeout_secs=0.3)
