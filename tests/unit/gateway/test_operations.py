"""What operators see: ports, health, readiness, metrics, the end; as the process that they run."""

from __future__ import annotations

import os
import re
import socket
import stat
import sys
from pathlib import Path

import httpx
import psutil
import pytest
from grpclib.client import Channel
from weightslab_common import __version__
from weightslab_common.embedded import free_port
from weightslab_common.ports import take_port
from weightslab_gateway.metrics import Metrics
from weightslab_proto.grpc.health.v1 import HealthCheckRequest, HealthCheckResponseServingStatus, HealthStub
from weightslab_proto.weightslab.v1 import ListExperimentsRequest

from tests.support.processes import Process, accepts, wait_until
from tests.unit.gateway.conftest import Gateway
from tests.unit.gateway.peers import LedgerPeer


def _process(nats_url: str, folder: Path, *flags: str, **environment: str) -> Process:
    ports = {name: str(free_port()) for name in ("GRPC_BACKEND_PORT", "ENVOY_PORT", "ENVOY_ADMIN_PORT")}
    given = {"WL_NATS_URL": nats_url, "WL_DATA_DIR": str(folder), **ports, **environment}
    command = [sys.executable, "-m", "weightslab_gateway", *flags]
    process = Process(command, log=folder / "gateway.log", environment=given)
    process.start()
    return process


def _refusal(process: Process) -> tuple[int | None, str]:
    wait_until(lambda: not process.running, what="the gateway refuses to start")
    return process.stop(), process.output()


def test_a_busy_port_is_named_with_its_setting(nats_url: str, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        status, output = _refusal(_process(nats_url, tmp_path, ENVOY_PORT=port))
    assert status == 2
    assert port in output
    assert "ENVOY_PORT=" in output
    assert "Traceback" not in output


def test_of_two_that_start_at_once_one_serves_and_the_other_says_why_not(nats_url: str, tmp_path: Path) -> None:
    ports = {name: str(free_port()) for name in ("GRPC_BACKEND_PORT", "ENVOY_PORT", "ENVOY_ADMIN_PORT")}
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    both = [_process(nats_url, folder, **ports) for folder in folders]
    wait_until(lambda: sum(process.running for process in both) == 1, what="one of both ends")
    loser = next(process for process in both if not process.running)
    winner = next(process for process in both if process.running)
    wait_until(lambda: "gateway serves" in winner.output(), what="the other serves")
    assert winner.stop() == 0
    assert loser.stop() == 2
    assert "is in use by another program" in loser.output()
    assert "Traceback" not in loser.output()


def test_an_open_bind_needs_a_token_of_its_own(nats_url: str, tmp_path: Path) -> None:
    status, output = _refusal(_process(nats_url, tmp_path, "--bind", "0.0.0.0", WL_VIEWER_TOKEN="secret-of-viewers"))
    assert status == 2
    assert "WL_TOKEN" in output
    assert "--insecure" in output
    assert "secret-of-viewers" not in output


def test_the_token_is_made_once_and_only_its_owner_reads_it(nats_url: str, tmp_path: Path) -> None:
    web_port = free_port()
    tokens = []
    for _ in range(2):
        process = _process(nats_url, tmp_path, ENVOY_PORT=str(web_port))
        wait_until(lambda: accepts(web_port), what="the gateway listens")
        assert process.stop() == 0
        tokens.append((tmp_path / "token").read_text())
        assert stat.S_IMODE(os.stat(tmp_path / "token").st_mode) == 0o600
    assert tokens[0] == tokens[1]
    assert tokens[0].strip() not in process.output()


def test_more_connections_are_taken_than_a_shell_allows(nats_url: str, tmp_path: Path) -> None:
    web_port = free_port()
    ports = {"GRPC_BACKEND_PORT": "0", "ENVOY_PORT": str(web_port), "ENVOY_ADMIN_PORT": "0"}
    given = {"WL_NATS_URL": nats_url, "WL_DATA_DIR": str(tmp_path), "WL_MAX_CONNECTIONS": "700", **ports}
    command = ["sh", "-c", f"ulimit -Sn 128; exec {sys.executable} -m weightslab_gateway"]
    process = Process(command, log=tmp_path / "gateway.log", environment=given)
    process.start()
    try:
        wait_until(lambda: accepts(web_port), what="the gateway listens", timeout_secs=60)
        assert psutil.Process(process.pid).rlimit(psutil.RLIMIT_NOFILE)[0] == 800
    finally:
        assert process.stop(timeout_secs=60) == 0


async def test_with_the_flag_everything_is_at_one_port(nats_url: str, tmp_path: Path) -> None:
    grpc_port, web_port = free_port(), free_port()
    ports = {"GRPC_BACKEND_PORT": str(grpc_port), "ENVOY_PORT": str(web_port)}
    process = _process(nats_url, tmp_path, "--single-port", **ports)
    try:
        wait_until(lambda: accepts(web_port), what="the gateway listens", timeout_secs=60)
        async with Channel("127.0.0.1", web_port) as channel:
            assert await HealthStub(channel).check(HealthCheckRequest(), timeout=30)
        assert not accepts(grpc_port)
    finally:
        assert process.stop(timeout_secs=60) == 0


async def test_ready_means_that_bus_and_ledger_answer(gateway: Gateway, ledger: LedgerPeer) -> None:
    async with httpx.AsyncClient(base_url=gateway.admin_url) as http:
        assert (await http.get("/healthz")).json() == {"status": "alive", "version": __version__}
        ready = await http.get("/readyz")
        assert (ready.status_code, ready.json()) == (200, {"ready": True, "missing": []})
        ledger.store_connected = False
        ready = await http.get("/readyz")
        assert (ready.status_code, ready.json()) == (503, {"ready": False, "missing": ["store"]})
        assert (await http.get("/else")).status_code == 404
        assert (await http.post("/healthz")).status_code == 405


async def test_calls_are_counted(gateway: Gateway, ledger: LedgerPeer) -> None:
    async with gateway.api() as api:
        await api.experiments.list_experiments(ListExperimentsRequest())
    async with httpx.AsyncClient(base_url=gateway.admin_url) as http:
        text = (await http.get("/metrics")).text
    path = "/weightslab.v1.ExperimentService/ListExperiments"
    assert f'wl_gateway_calls_total{{method="{path}",status="OK",transport="grpc"}} 1.0' in text
    assert "wl_gateway_bus_connected 1.0" in text


def test_every_metric_is_documented_and_no_other() -> None:
    text = (Path(__file__).resolve().parents[3] / "docs" / "operations.md").read_text()
    table = dict(re.findall(r"^\| `(wl_gateway_\w+)` \| (\w+) \|", text, re.MULTILINE))
    metrics = {family.name: family.type for family in Metrics().registry.collect()}
    # A counter's name ends in `_total` where it is read.
    assert table == {f"{name}_total" if kind == "counter" else name: kind for name, kind in metrics.items()}


@pytest.mark.parametrize("service", ["", "weightslab.v1.SampleService"])
async def test_health_is_told_without_a_token(gateway: Gateway, service: str) -> None:
    async with Channel("127.0.0.1", gateway.grpc_port) as channel:
        reply = await HealthStub(channel).check(HealthCheckRequest(service=service))
        assert reply.status == HealthCheckResponseServingStatus.SERVING
        async for watched in HealthStub(channel).watch(HealthCheckRequest(service="nothing")):
            assert watched.status == HealthCheckResponseServingStatus.SERVICE_UNKNOWN
            break


def test_replies_are_not_held_back_to_be_sent_together() -> None:
    with take_port(host="127.0.0.1", port=0, setting="ENVOY_PORT") as taken:
        assert taken.proto == socket.IPPROTO_TCP, "else asyncio leaves Nagle's algorithm on"
