"""What operators see of a ledger: health, readiness and metrics, over a bus and a store that ask for credentials."""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path

import httpx
import pytest
from weightslab_common.bus import Bus
from weightslab_common.bus_tls import bus_context
from weightslab_common.embedded import free_ports, nats_command, store_command
from weightslab_proto.weightslab.v1 import ListColumnsRequest, ListColumnsResponse

from tests.support.certificates import Files
from tests.support.processes import Process, wait_until
from tests.unit.ledger.trainers import Client, Trainer

PASSWORD = "word-of-the-store"
TOKEN = "word-of-the-bus"


def _answer(port: int, path: str) -> httpx.Response | None:
    try:
        return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=5)
    except httpx.TransportError:
        return None


def _missing(port: int) -> object:
    answer = _answer(port, "/readyz")
    return answer.json()["missing"] if answer else None


def _speak_tls(configuration: Path, files: Files) -> None:
    with configuration.open("a") as file:
        file.write(f'tls {{ cert_file: "{files.server_cert}", key_file: "{files.server_key}" }}\n')


async def test_a_ledger_over_tls_and_passwords_tells_how_it_is(tmp_path: Path) -> None:
    nats_port, store_port, admin_port = free_ports(3)
    files = Files.make(tmp_path / "certificates")
    bus_command = nats_command(tmp_path / "nats", port=nats_port, token=TOKEN)
    _speak_tls(Path(bus_command[-1]), files)
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "WL_NATS_TOKEN").write_text(TOKEN)
    (secrets / "WL_REDIS_URL").write_text(f"redis://:{PASSWORD}@127.0.0.1:{store_port}")
    environment = {
        "WL_SECRETS_DIR": str(secrets),
        "WL_NATS_URL": f"tls://127.0.0.1:{nats_port}",
        "WL_NATS_CA": str(files.authority),
        "WL_DATA_DIR": str(tmp_path / "data"),
        "WL_LEDGER_ADMIN_PORT": str(admin_port),
    }
    nats = Process(bus_command, log=tmp_path / "nats.log")
    store = Process(store_command(tmp_path / "store", port=store_port, password=PASSWORD), log=tmp_path / "store.log")
    ledger = Process([sys.executable, "-m", "weightslab_ledger"], log=tmp_path / "ledger.log", environment=environment)
    try:
        ledger.start()
        wait_until(lambda: _missing(admin_port) == ["bus", "store"], what="it says what is missing", timeout_secs=60)
        assert _answer(admin_port, "/healthz").json()["status"] == "alive"  # type: ignore[union-attr]
        nats.start()
        store.start()
        wait_until(lambda: _missing(admin_port) == [], what="the ledger is ready", timeout_secs=60)
        tls = bus_context(authority=files.authority, certificate=None, key=None)
        bus = await Bus.connect(environment["WL_NATS_URL"], name="test", token=TOKEN, tls=tls)
        try:
            await bus.ensure_streams()
            await Trainer(bus, "told").register("train", ["a", "b"], registration_id="r")
            await Client(bus, "told").until(
                "list_columns", ListColumnsRequest(), ListColumnsResponse, lambda it: bool(it.splits)
            )
        finally:
            await bus.close()
        metrics = _answer(admin_port, "/metrics").text  # type: ignore[union-attr]
        for line in (
            "wl_ledger_bus_connected 1.0",
            "wl_ledger_store_connected 1.0",
            'wl_ledger_experiments{loaded="true"} 1.0',
            'wl_ledger_samples{experiment="told"} 2.0',
            'wl_ledger_messages_total{experiment="told"} 1.0',
        ):
            assert line in metrics, metrics
        await asyncio.to_thread(store.kill)
        wait_until(lambda: _missing(admin_port) == ["store"], what="the lost store is told", timeout_secs=60)
        assert ledger.stop(timeout_secs=40) == 0
        assert TOKEN not in ledger.output()
        assert PASSWORD not in ledger.output()
    finally:
        for process in (ledger, nats, store):
            process.kill()


@pytest.mark.parametrize(
    ("setting", "value"), [("WL_NATS_CA", "/nowhere/ca.pem"), ("WL_LEDGER_ADMIN_PORT", "a busy one")]
)
def test_what_it_cannot_start_with_is_named(tmp_path: Path, setting: str, value: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        given = str(taken.getsockname()[1]) if setting.endswith("PORT") else value
        ledger = Process(
            [sys.executable, "-m", "weightslab_ledger"],
            log=tmp_path / "ledger.log",
            environment={"WL_DATA_DIR": str(tmp_path), setting: given},
        )
        ledger.start()
        wait_until(lambda: not ledger.running, what="the ledger refuses to start", timeout_secs=60)
    assert ledger.stop() == 2
    assert setting in ledger.output()
    assert "Traceback" not in ledger.output()
