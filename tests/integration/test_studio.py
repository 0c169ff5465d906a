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
import redis
import safetensors.torch
import torch
from grpclib.client import Channel
from pyarrow import parquet
from weightslab.console.client import connected
from weightslab.studio import runfile
from weightslab_common.embedded import free_port, free_ports, nats_command, store_command
from weightslab_proto.weightslab.v1 import Checkpoint, SaveCheckpointRequest

from tests.support.processes import Process, accepts, wait_until
from tests.support.studio import EXPERIMENT, Api

WEIGHTSLAB = str(Path(sys.executable).parent / "weightslab")
# Generous: what is waited for comes in seconds on an idle machine. A start waits for services and the first curve.
PATIENCE_SECS, START_SECS = 60, 150
pytestmark = pytest.mark.timeout(400)
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
            timeout_secs=START_SECS,
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
            timeout=PATIENCE_SECS,
            check=False,
            env={**os.environ, **self.environment},
        )


def _environment() -> dict[str, str]:
    return {"OMP_NUM_THREADS": "1", "WL_EXPERIMENT": EXPERIMENT}


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
        started.process.stop()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    """A running demo that several tests share; each leaves it training, and its samples as they were."""
    started = Started(tmp_path_factory.mktemp("demo"), "demo")
    try:
        started.start()
        yield started
    finally:
        started.process.stop()


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
    assert up.process.stop() == 0, up.process.output()
    assert _alive(family) == []
    assert not any(accepts(port) for port in (up.page_port, up.web_port, up.admin_port, up.grpc_port))
    assert runfile.running(up.data_dir) is None


def test_a_killed_service_comes_back_and_the_others_stay(up: Started) -> None:
    up.start()
    before = up.pids()
    for name in ("gateway", "ledger", "ui", "nats", "store"):
        os.kill(before[name], signal.SIGKILL)
        wait_until(partial(_is_new, up, name, before[name]), what=f"{name} is started again")
    wait_until(lambda: _status(up.admin_port) == 200 and accepts(up.page_port), what="all is ready again")
    assert "nats was ended by SIGKILL; starting it again" in up.process.output()
    doctor = up.command("doctor", "--json")
    assert doctor.returncode == 0, doctor.stdout
    health = {finding["part"]: finding["health"] for finding in json.loads(doctor.stdout)}
    assert {"bus", "store", "ledger", "gateway", "page", "ports"} <= {
        part for part, value in health.items() if value == "ok"
    }


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
        wait_until(lambda: _status(up.admin_port) == 200, what="all is ready again")
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
        doctor = demo.command("doctor")
        assert doctor.returncode == 0, doctor.stdout
        assert "hidden" not in doctor.stdout
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


def test_a_second_studio_in_the_same_folder_is_told_of_the_first(demo: Started) -> None:
    second = demo.command("up", "--no-browser", "--page-port", str(free_port()))
    assert second.returncode == 1
    assert f"already runs with the data folder {demo.data_dir} at http://localhost:{demo.page_port}" in second.stderr


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


def test_the_demo_shows_a_first_curve(demo: Started) -> None:
    assert "no curve has come yet" not in demo.process.output()
    assert "train/loss,main,train," in demo.command("export", "curves").stdout
    status = demo.command("console", "--json", "-c", "status")
    assert json.loads(status.stdout)["samples"]["total"] == 1797


def _say(demo: Started, line: str) -> dict[str, Any]:
    """Type a line into the console of the run; return its reply."""

    async def answer() -> bytes:
        async with connected("localhost", demo.console_port) as client:
            return await client.ask(line)

    reply = json.loads(asyncio.run(answer()))
    assert isinstance(reply, dict)
    return reply


def _done(demo: Started, line: str) -> dict[str, Any]:
    reply = _say(demo, line)
    assert reply["ok"], reply
    return reply


def _exported(demo: Started, *arguments: str) -> list[dict[str, Any]]:
    result = demo.command("export", *arguments, "--format", "json")
    assert result.returncode == 0, result.stderr
    return list(json.loads(result.stdout))


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_tags_go_out_and_come_back(demo: Started, tmp_path: Path, form: str) -> None:
    file, tag = tmp_path / f"tags.{form}", f'{form}, "c"'
    revision = _done(demo, f"add_tag 700 '{tag}' --loader train")["revision"]
    assert demo.command("export", "tags", "-o", str(file), "--filter", 'uid == "700"').returncode == 0
    if form == "csv":
        file.write_text(file.read_text().replace("700", "702"))
    else:
        table = parquet.read_table(file)
        parquet.write_table(table.set_column(1, "uid", [["702"] * table.num_rows]), file)
    told = demo.command("import", "tags", str(file))
    assert told.returncode == 0, told.stderr
    assert f"{tag}: 1 of 1 samples changed, revision {revision + 1}" in told.stdout
    tagged = _exported(demo, "samples", "--filter", 'tag("' + tag.replace('"', '\\"') + '")')
    assert sorted(row["uid"] for row in tagged) == ["700", "702"]


def test_tags_of_an_unknown_sample_change_nothing(demo: Started, tmp_path: Path) -> None:
    file = tmp_path / "tags.csv"
    file.write_text("split,uid,tag\ntrain,703,fresh\ntrain,no-such,fresh\n")
    refused = demo.command("import", "tags", str(file))
    assert refused.returncode == 1
    assert "no-such" in refused.stderr
    assert _exported(demo, "samples", "--filter", 'uid == "703" and tag("fresh")') == []


def test_exports_hold_everything_in_every_format(demo: Started, tmp_path: Path) -> None:
    made = _done(demo, "discard 704 --loader train")
    tables: dict[str, Any] = {}
    for what in ("curves", "samples", "tags", "edits"):
        file = tmp_path / f"{what}.parquet"
        told = demo.command("export", what, "-o", str(file))
        assert told.returncode == 0, told.stderr
        tables[what] = parquet.read_table(file)
        assert told.stderr == f"{what} in {file}: {tables[what].num_rows:,}\n"
    names = tables["samples"].column_names
    assert tables["samples"].num_rows == 1797
    assert any(name.startswith("train/loss") for name in names)
    assert demo.command("export", "samples").stdout.splitlines()[0].split(",") == names
    [sample] = _exported(demo, "samples", "--filter", 'uid == "704" and split == "train"')
    assert sample["discarded"] is True
    assert list(sample) == names
    edits = {edit["revision"]: edit for edit in tables["edits"].to_pylist()}
    assert sorted(edits) == list(range(1, len(edits) + 1))
    edit = edits[made["revision"]]
    assert (edit["operation"], edit["author"], edit["changed"]) == ("discard", "console", 1)
    _done(demo, "undiscard 704 --loader train")


def test_the_store_is_checked_against_the_log(demo: Started) -> None:
    checked = demo.command("fsck", "digits", "--json")
    assert (checked.returncode, json.loads(checked.stdout)) == (0, {"digits": []})
    unknown = demo.command("fsck", "nothing")
    assert unknown.returncode == 1
    assert "knows no 'nothing'; it knows digits" in unknown.stderr
    with redis.Redis.from_url(demo.entry.redis_url) as store:
        key = f"wl:{{{EXPERIMENT}}}:discards"
        bit = store.setbit(key, 9, 1)
        try:
            differs = demo.command("fsck")
        finally:
            store.setbit(key, 9, bit)
    assert differs.returncode == 1
    assert "discards: 1 samples differ" in differs.stdout
    assert demo.command("fsck").stdout.startswith("digits: the log and the bitmaps agree")


FIRST, SECOND = "/models/model/0.weight", "/models/model/4.weight"


def _weights(demo: Started) -> dict[str, torch.Tensor]:
    """What the run has in its memory now, by a checkpoint of it."""

    async def save() -> Checkpoint:
        async with Api(Channel("127.0.0.1", demo.grpc_port), (demo.data_dir / "token").read_text().strip()) as api:
            saved = await api.experiments.save_checkpoint(SaveCheckpointRequest(experiment=EXPERIMENT))
        assert saved.checkpoint
        return saved.checkpoint

    made = asyncio.run(save())
    [file] = demo.data_dir.glob(f"**/{made.branch}/{made.step:012d}/tensors.safetensors")
    return safetensors.torch.load_file(file)


def test_operations_change_the_model_that_trains(demo: Started) -> None:
    done = partial(_done, demo)

    def first_layer() -> str:
        return next(line for line in str(done("plot_model")["tree"]).splitlines() if "Conv2d" in line)

    def model() -> tuple[int, int]:
        [known] = done("list_models")["models"]
        return int(known["parameters"]), int(known["trainable"])

    def train() -> None:
        step = done("resume")["step"]
        wait_until(lambda: done("status")["run"]["step"] > step + 3, what="training goes on")
        done("pause")

    parameters, _ = before = model()
    [layer, *_] = re.findall(r"\d+", first_layer())
    done("pause")

    grown = done(f"operate 1 {layer} 4")
    # A kernel of 3 by 3 and a bias each, two values of the norm, and what the 32 channels of the next layer read.
    assert grown["parameters"] == parameters + 4 * (9 + 1 + 2 + 32 * 9)
    assert "weight[20×" in first_layer()
    wait_until(lambda: model()[0] == grown["parameters"], what="everybody is told")
    train()
    assert done(f"operate model 2 {layer} [16, 17, 18, 19]")["parameters"] == parameters
    assert "weight[16×" in first_layer()

    before_reset = _weights(demo)
    done(f"operate 4 {layer} [0, 5]")
    reset = _weights(demo)
    assert (before_reset[FIRST] != reset[FIRST]).flatten(1).any(1).nonzero().flatten().tolist() == [0, 5]
    assert before_reset[SECOND].equal(reset[SECOND])

    done(f"operate 3 {layer} 0")
    wait_until(lambda: model()[1] == parameters - 16 * (9 + 1), what="everybody is told of the frozen layer")
    train()
    frozen = _weights(demo)
    assert frozen[FIRST].equal(reset[FIRST]), "a frozen layer does not learn"
    assert not frozen[SECOND].equal(reset[SECOND]), "the others do"
    done(f"operate 5 {layer} 0")
    wait_until(lambda: model() == before, what="everybody is told of the thawed layer")
    train()
    assert not _weights(demo)[FIRST].equal(frozen[FIRST])

    refused = _say(demo, f"operate 2 {layer} [99]")
    assert not refused["ok"]
    assert "99" in refused["error"]
    assert "op_type is 1 add" in _say(demo, f"operate 9 {layer} 1")["error"]
    assert model() == before
    done("resume")


def test_an_interrupt_while_starting_leaves_nothing(tmp_path: Path) -> None:
    demo = Started(tmp_path, "demo")
    demo.process.start()
    wait_until(lambda: "ready" in demo.process.output(), what="the first service is ready")
    family = _family(demo.process.pid)
    assert demo.process.signal(signal.SIGINT) == 0, demo.process.output()
    assert _alive(family) == []
    assert "Traceback" not in demo.process.output()


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
            said, _ = trainer.communicate("\n", timeout=PATIENCE_SECS)
            assert said == "closed\n"
            assert _alive(family) == []
        else:
            trainer.kill()
            wait_until(lambda: not _alive(family), what="the studio has ended")


def test_a_studio_outlives_the_run_that_started_it_and_ends_with_the_last(tmp_path: Path) -> None:
    started = Started(tmp_path, "up")
    with _attached(started) as first, _attached(started) as second:
        # Started at once: one of them starts the studio, the other waits for it.
        for run in (first, second):
            assert LINK.search(_line(run))
            assert _line(run).startswith("bus nats://")
        studio = started.entry.pid
        starter, other = (first, second) if psutil.Process(studio).ppid() == first.pid else (second, first)
        starter.kill()
        starter.wait()
        with _attached(started) as third:
            assert LINK.search(_line(third)), "the studio is there for others"
            assert started.entry.pid == studio
            assert _status(started.admin_port) == 200
            third.communicate("\n", timeout=PATIENCE_SECS)
        assert started.entry.pid == studio
        family = _family(studio)
        said, _ = other.communicate("\n", timeout=PATIENCE_SECS)
        assert said == "closed\n"
        assert _alive(family) == [], "the last one has waited for its end"


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
        wait_until(lambda: accepts(started.console_port) or not run.running, what="the console listens")
        assert LINK.search(run.output()), run.output()
        wait_until(lambda: "train/loss" in started.command("export", "curves").stdout, what="a curve")
        family = _family(run.pid)
        assert len(family) >= 7
    finally:
        run.signal(signal.SIGINT)
    wait_until(lambda: not _alive(family), what="run and studio have ended")


async def test_first_curve_says_when_there_is_none(nats_url: str) -> None:
    from weightslab.studio.session import first_curve

    async with asyncio.timeout(10):
        assert not await first_curve(nats_url, None, timeout_secs=0.3)
