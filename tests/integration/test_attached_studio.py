"""Training processes without a bus: the studio that the first of them starts, and that ends with the last."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.processes import PATIENCE_SECS, Process, accepts, wait_until
from tests.support.started import ENVIRONMENT, LINK, Started, alive, family_of, is_ready

pytestmark = pytest.mark.timeout(400)

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
        assert is_ready(started.admin_port)
        family = family_of(trainer.pid)[1:]
        assert len(family) >= 6
        if ending == "close":
            said, _ = trainer.communicate("\n", timeout=PATIENCE_SECS)
            assert said == "closed\n"
            assert alive(family) == []
        else:
            trainer.kill()
            wait_until(lambda: not alive(family), what="the studio has ended")


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
            assert is_ready(started.admin_port)
            third.communicate("\n", timeout=PATIENCE_SECS)
        assert started.entry.pid == studio
        family = family_of(studio)
        said, _ = other.communicate("\n", timeout=PATIENCE_SECS)
        assert said == "closed\n"
        assert alive(family) == [], "the last one has waited for its end"


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
            **ENVIRONMENT,
            "WL_DATA_DIR": str(started.data_dir),
            **{name: str(port) for name, port in ports.items()},
        },
    )
    run.start()
    try:
        wait_until(lambda: accepts(started.console_port) or not run.running, what="the console listens")
        assert LINK.search(run.output()), run.output()
        wait_until(lambda: "train/loss" in started.command("export", "curves").stdout, what="a curve")
        family = family_of(run.pid)
        assert len(family) >= 7
    finally:
        run.signal(signal.SIGINT)
    wait_until(lambda: not alive(family), what="run and studio have ended")
