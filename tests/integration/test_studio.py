"""`weightslab up` and `weightslab demo` as a user starts them: real processes, on free ports."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from pyarrow import parquet
from weightslab.console.client import connected
from weightslab.studio import runfile
from weightslab_common.embedded import free_port, free_ports, nats_command, store_command

from tests.support.processes import Process, accepts, wait_until

WEIGHTSLAB = str(Path(sys.executable).parent / "weightslab")
READY_SECS = 60
LINK = re.compile(r"http://localhost:\d+/#login=(\S+)")


class Started:
    """A `weightslab up` or `demo` in a folder of its own."""

    def __init__(self, folder: Path, what: str, *flags: str, **environment: str) -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        ports = free_ports(5)
        self.page_port, self.web_port, self.admin_port, self.grpc_port, self.console_port = ports
        choices = zip(
            ("--page-port", "--web-port", "--admin-port", "--grpc-port", "--console-port"), ports, strict=True
        )
        options = [text for flag, port in choices for text in (flag, str(port))]
        self.environment = {**_environment(), **environment}
        self.arguments = ["--data-dir", str(self.data_dir), *options]
        self.process = Process(
            [WEIGHTSLAB, what, "--no-browser", *flags, *self.arguments],
            log=folder / "log",
            environment=self.environment,
        )

    def start(self) -> None:
        """Start, and wait until the address is printed."""
        known = len(LINK.findall(self.process.output()))
        self.process.start()
        wait_until(
            lambda: len(LINK.findall(self.process.output())) > known or not self.process.running,
            what="the address is printed",
            timeout_secs=READY_SECS,
        )
        assert self.process.running, self.process.output()

    @property
    def entry(self) -> runfile.StudioEntry:
        entry = runfile.running(self.data_dir)
        assert entry
        return entry

    def pids(self) -> dict[str, int]:
        return {service.name: service.pid for service in self.entry.services}

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [WEIGHTSLAB, *arguments, "--data-dir", str(self.data_dir)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, **self.environment},
        )


def _environment() -> dict[str, str]:
    return {"OMP_NUM_THREADS": "1", "WL_EXPERIMENT": "digits"}


def _alive(pids: list[int]) -> list[int]:
    def runs(pid: int) -> bool:
        try:
            return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    return [pid for pid in pids if runs(pid)]


def _family(pid: int) -> list[int]:
    return [pid, *(process.pid for process in psutil.Process(pid).children(recursive=True))]


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Started]:
    started = Started(tmp_path, "up")
    try:
        yield started
    finally:
        started.process.stop(timeout_secs=40)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Started]:
    started = Started(tmp_path, "demo")
    try:
        yield started
    finally:
        started.process.stop(timeout_secs=60)


def test_up_prints_an_address_that_logs_in_and_ends_without_a_trace(up: Started) -> None:
    up.start()
    assert httpx.get(f"http://localhost:{up.page_port}/").status_code == 200
    assert httpx.get(f"http://127.0.0.1:{up.admin_port}/readyz").status_code == 200
    code = LINK.findall(up.process.output())[-1]
    origin = {"origin": f"http://localhost:{up.page_port}"}
    session = f"http://localhost:{up.web_port}/auth/session"
    first = httpx.post(session, json={"login": code}, headers=origin)
    assert first.json()["role"] == "editor"
    assert httpx.post(session, json={"login": code}, headers=origin).status_code == 401, "a login works once"
    environment = up.command("config", "--env").stdout
    assert f"export WL_NATS_URL={up.entry.nats_url}\n" in environment
    assert f"export WL_NATS_TOKEN={runfile.nats_token(up.data_dir)}\n" in environment
    family = _family(up.process.pid)
    assert len(family) >= 6
    assert up.process.stop(timeout_secs=40) == 0, up.process.output()
    assert _alive(family) == []
    assert not any(accepts(port) for port in (up.page_port, up.web_port, up.admin_port, up.grpc_port))
    assert runfile.running(up.data_dir) is None


def test_a_killed_service_comes_back_and_the_others_stay(up: Started) -> None:
    up.start()
    before = up.pids()
    for name in ("gateway", "ledger", "ui", "nats", "store"):
        os.kill(before[name], signal.SIGKILL)
        wait_until(partial(_is_new, up, name, before[name]), what=f"{name} is started again", timeout_secs=30)
    wait_until(
        lambda: _status(up.admin_port) == 200 and accepts(up.page_port), what="all is ready again", timeout_secs=40
    )
    assert "nats was ended by SIGKILL; starting it again" in up.process.output()
    doctor = up.command("doctor", "--json")
    assert doctor.returncode == 0, doctor.stdout
    health = {finding["part"]: finding["health"] for finding in json.loads(doctor.stdout)}
    assert {"bus", "store", "ledger", "gateway", "page"} <= {part for part, value in health.items() if value == "ok"}


def _cpu_secs(pid: int) -> float:
    """Processor time that a process and all it started have used."""
    used = [psutil.Process(member).cpu_times() for member in _family(pid)]
    return sum(times.user + times.system for times in used)


def _is_new(up: Started, name: str, old_pid: int) -> bool:
    return up.pids().get(name, old_pid) != old_pid


def _status(port: int) -> int:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=2).status_code
    except httpx.HTTPError:
        return 0


def test_when_the_studio_is_killed_nothing_is_left_and_the_next_start_works(up: Started) -> None:
    up.start()
    family, bus = _family(up.process.pid), up.entry.nats_url
    up.process.kill()
    wait_until(lambda: not _alive(family), what="every service has ended with it")
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
        page = f"http://localhost:{up.page_port}"
        assert "/@vite/client" in httpx.get(f"{page}/", headers={"accept": "text/html"}).text
        assert httpx.get(f"{page}/config.json").json()["serverUrl"] == f"http://localhost:{up.web_port}"
        before = up.pids()
        spec = importlib.util.find_spec("weightslab_ledger")
        assert spec
        assert spec.origin
        # As an editor that saves it unchanged.
        os.utime(spec.origin)
        wait_until(partial(_is_new, up, "ledger", before["ledger"]), what="the ledger is started again")
        wait_until(lambda: _status(up.admin_port) == 200, what="all is ready again", timeout_secs=40)
        assert {name: pid for name, pid in up.pids().items() if before[name] != pid}.keys() == {"ledger"}
        assert "has changed: starting ledger again" in up.process.output()
    finally:
        up.process.stop(timeout_secs=40)


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
        doctor = demo.command("doctor")
        assert doctor.returncode == 0, doctor.stdout
        assert "hidden" not in doctor.stdout
        assert demo.process.stop(timeout_secs=60) == 0, demo.process.output()
        assert all(server.running for server in servers), "they are not ours to end"
        demo.start()
        [edit] = json.loads(demo.command("export", "edits", "--format", "json").stdout)
        assert edit["operation"] == "discard", "what they keep is there after a restart"
        assert demo.command("fsck").returncode == 0
    finally:
        demo.process.stop(timeout_secs=60)
        for server in servers:
            server.stop()
    assert "hidden" not in demo.process.output()
    assert "secret" not in demo.process.output()


def test_a_second_studio_in_the_same_folder_is_told_of_the_first(up: Started) -> None:
    up.start()
    second = up.command("up", "--no-browser", "--page-port", str(free_port()))
    assert second.returncode == 1
    assert f"already runs with the data folder {up.data_dir} at http://localhost:{up.page_port}" in second.stderr


def test_a_wrong_setting_is_one_sentence_and_status_2(up: Started) -> None:
    result = subprocess.run(
        [WEIGHTSLAB, "up", *up.arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**os.environ, "WL_LOG_LEVEL": "LOUD"},
    )
    assert result.returncode == 2
    assert "setting WL_LOG_LEVEL" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_demo_shows_a_first_curve_and_starts_quickly_the_second_time(demo: Started) -> None:
    demo.start()
    assert "no curve has come yet" not in demo.process.output()
    exported = demo.command("export", "curves")
    assert "train/loss,main,train," in exported.stdout
    status = demo.command("console", "--json", "-c", "status")
    assert json.loads(status.stdout)["samples"]["total"] == 1797
    family = _family(demo.process.pid)
    assert demo.process.stop(timeout_secs=60) == 0, demo.process.output()
    assert _alive(family) == []
    demo.start()
    # Under ten seconds on two idle cores; other work on the machine does not count against it.
    seconds = _cpu_secs(demo.process.pid) / 2
    assert seconds < 5, f"the second start took {seconds:.1f} s of two cores"


def test_tags_go_out_and_come_back(demo: Started, tmp_path: Path) -> None:
    demo.start()
    file = tmp_path / "tags.csv"
    for uid in ("700", "701"):
        assert demo.command("console", "-c", f"add_tag {uid} 'a,b \"c\"' --loader train").returncode == 0
    assert demo.command("export", "tags", "-o", str(file)).returncode == 0
    file.write_text(file.read_text().replace("700", "702"))
    assert demo.command("tags", str(file)).returncode == 0
    tagged = demo.command("export", "samples", "--format", "json", "--filter", 'tag("a,b \\"c\\"")')
    assert sorted(row["uid"] for row in json.loads(tagged.stdout)) == ["700", "701", "702"]
    edits = json.loads(demo.command("export", "edits", "--format", "json").stdout)
    assert [edit["revision"] for edit in edits] == [1, 2, 3]
    file.write_text("split,uid,tag\ntrain,703,fresh\ntrain,no-such,fresh\n")
    refused = demo.command("tags", str(file))
    assert refused.returncode == 1
    assert "no-such" in refused.stderr
    found = demo.command("export", "samples", "--filter", 'uid == "703" and tag("fresh")').stdout
    assert len(found.splitlines()) == 1, "only the line of names"


def test_exports_hold_everything_in_every_format_and_the_store_adds_up(demo: Started, tmp_path: Path) -> None:
    demo.start()
    assert demo.command("console", "-c", "discard 700 --loader train").returncode == 0
    names: dict[str, list[str]] = {}
    for what in ("curves", "samples", "tags", "edits"):
        file = tmp_path / f"{what}.parquet"
        told = demo.command("export", what, "-o", str(file))
        assert told.returncode == 0, told.stderr
        table = parquet.read_table(file)
        names[what] = table.column_names
        assert told.stderr == f"{what} in {file}: {table.num_rows:,}\n"
        assert table.column_names == demo.command("export", what).stdout.splitlines()[0].split(",")
    assert parquet.read_table(tmp_path / "samples.parquet").num_rows == 1797
    columns = demo.command("export", "samples", "--format", "json", "--filter", 'uid == "700"')
    [sample] = json.loads(columns.stdout)
    assert sample["discarded"] is True
    assert list(sample) == names["samples"]
    assert any(name.startswith("train/loss") for name in names["samples"])
    [edit] = json.loads(demo.command("export", "edits", "--format", "json").stdout)
    assert (edit["operation"], edit["author"], edit["changed"]) == ("discard", "console", 1)
    checked = demo.command("fsck", "digits", "--json")
    assert (checked.returncode, json.loads(checked.stdout)) == (0, {"digits": []})
    assert demo.command("fsck").stdout.startswith("digits: the log and the bitmaps agree")
    unknown = demo.command("fsck", "nothing")
    assert unknown.returncode == 1
    assert "knows no 'nothing'; it knows digits" in unknown.stderr
    spoiled = subprocess.run([sys.executable, "-c", SPOIL, demo.entry.redis_url], timeout=30, check=False)
    assert spoiled.returncode == 0
    differs = demo.command("fsck")
    assert differs.returncode == 1
    assert "discards: 1 samples differ" in differs.stdout


def test_operations_on_a_layer_change_the_model_that_trains(demo: Started) -> None:
    demo.start()

    async def answer(line: str) -> bytes:
        async with connected("localhost", demo.console_port) as client:
            return await client.ask(line)

    def say(line: str) -> dict[str, Any]:
        reply = json.loads(asyncio.run(answer(line)))
        assert isinstance(reply, dict)
        return reply

    def first_layer() -> str:
        [line, *_] = [line for line in say("plot_model")["tree"].splitlines() if "Conv2d" in line]
        return str(line)

    def parameters() -> int:
        return int(say("list_models")["models"][0]["parameters"])

    before, layer = parameters(), first_layer()
    [layer_id] = re.findall(r"\d+", layer)[:1]
    grown = say(f"operate 1 {layer_id} 4")
    assert grown["ok"], grown
    # A kernel of 3 by 3 and a bias each, two values of the norm, and what the 32 channels of the next layer read.
    assert grown["parameters"] == before + 4 * (9 + 1 + 2 + 32 * 9)
    assert "×20×" in first_layer()
    wait_until(lambda: parameters() == grown["parameters"], what="everybody is told")
    step = say("status")["run"]["step"]
    wait_until(lambda: say("status")["run"]["step"] > step + 3, what="training goes on", timeout_secs=60)
    assert say(f"operate 2 {layer_id} [16, 17, 18, 19]")["parameters"] == before
    assert "×16×" in first_layer()
    refused = say(f"operate 2 {layer_id} [99]")
    assert not refused["ok"]
    assert "99" in refused["error"]
    assert "op_type is 1 add" in say(f"operate 9 {layer_id} 1")["error"]
    assert parameters() == before


def test_an_interrupt_while_starting_leaves_nothing(demo: Started) -> None:
    demo.process.start()
    wait_until(lambda: "ready" in demo.process.output(), what="the first service is ready", timeout_secs=READY_SECS)
    family = _family(demo.process.pid)
    assert demo.process.signal(signal.SIGINT, timeout_secs=40) == 0, demo.process.output()
    assert _alive(family) == []
    assert "Traceback" not in demo.process.output()


SPOIL = """
import sys, redis
with redis.Redis.from_url(sys.argv[1]) as store:
    [key] = store.keys("*discards")
    store.setbit(key, 9, 1)
"""

ATTACHED = """
import os, sys, time
from pathlib import Path
from weightslab.studio import attach_embedded
handle = attach_embedded(Path(sys.argv[1]))
print("bus", handle.nats_url, bool(handle.nats_token), flush=True)
sys.stdin.readline()
handle.close()
print("closed", flush=True)
"""


@contextlib.contextmanager
def _attached(started: Started) -> Iterator[subprocess.Popen[str]]:
    """A training process attached to the studio of `started`'s folder, which it has to start when there is none."""
    ports = {
        "VITE_PORT": started.page_port,
        "ENVOY_PORT": started.web_port,
        "ENVOY_ADMIN_PORT": started.admin_port,
        "GRPC_BACKEND_PORT": started.grpc_port,
    }
    with subprocess.Popen(
        [sys.executable, "-c", ATTACHED, str(started.data_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **{name: str(port) for name, port in ports.items()}},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline()


@pytest.mark.parametrize("ending", ["close", "kill"])
def test_a_training_process_gets_a_studio_that_ends_with_it(tmp_path: Path, ending: str) -> None:
    started = Started(tmp_path, "up")
    with _attached(started) as trainer:
        assert LINK.search(_line(trainer))
        assert _line(trainer).endswith("True\n")
        assert _status(started.admin_port) == 200
        family = _family(trainer.pid)[1:]
        assert len(family) >= 6
        if ending == "close":
            said, _ = trainer.communicate("\n", timeout=40)
            assert said == "closed\n"
            assert _alive(family) == []
        else:
            trainer.kill()
            wait_until(lambda: not _alive(family), what="the studio has ended", timeout_secs=40)


@pytest.mark.parametrize("ending", ["close", "kill"])
def test_a_studio_outlives_the_run_that_started_it_and_ends_with_the_last(tmp_path: Path, ending: str) -> None:
    started = Started(tmp_path, "up")
    with _attached(started) as first, _attached(started) as second:
        # Started at once: one of them starts the studio, the other waits for it.
        for run in (first, second):
            assert LINK.search(_line(run))
            assert _line(run).startswith("bus nats://")
        studio = started.entry.pid
        starter, other = (first, second) if psutil.Process(studio).ppid() == first.pid else (second, first)
        if ending == "close":
            starter.communicate("\n", timeout=40)
            assert starter.returncode == 0
        else:
            starter.kill()
            starter.wait()
        with _attached(started) as third:
            assert LINK.search(_line(third)), "the studio is there for others"
            assert started.entry.pid == studio
            assert _status(started.admin_port) == 200
            third.communicate("\n", timeout=40)
        assert started.entry.pid == studio
        family = _family(studio)
        if ending == "close":
            said, _ = other.communicate("\n", timeout=40)
            assert said == "closed\n"
            assert _alive(family) == [], "the last one has waited for its end"
        else:
            other.kill()
            wait_until(lambda: not _alive(family), what="the studio has ended", timeout_secs=40)


def test_a_run_without_a_bus_starts_a_studio_and_takes_it_along(tmp_path: Path) -> None:
    started = Started(tmp_path, "up")
    ports = {
        "VITE_PORT": started.page_port,
        "ENVOY_PORT": started.web_port,
        "ENVOY_ADMIN_PORT": started.admin_port,
        "GRPC_BACKEND_PORT": started.grpc_port,
        "CLI_PORT": started.console_port,
    }
    run = Process(
        [sys.executable, "-m", "weightslab.demo.digits"],
        log=tmp_path / "log",
        environment={
            **_environment(),
            "WL_DATA_DIR": str(started.data_dir),
            **{name: str(port) for name, port in ports.items()},
        },
    )
    run.start()
    try:
        wait_until(
            lambda: accepts(started.console_port) or not run.running, what="the console listens", timeout_secs=60
        )
        assert LINK.search(run.output()), run.output()
        wait_until(lambda: "train/loss" in started.command("export", "curves").stdout, what="a curve", timeout_secs=60)
        family = _family(run.pid)
        assert len(family) >= 7
    finally:
        run.signal(signal.SIGINT, timeout_secs=40)
    wait_until(lambda: not _alive(family), what="run and studio have ended", timeout_secs=40)


async def test_first_curve_says_when_there_is_none(nats_url: str) -> None:
    from weightslab.studio.session import first_curve

    async with asyncio.timeout(10):
        assert not await first_curve(nats_url, None, timeout_secs=0.3)
