"""The page for a user's own script: its script and its commands are run as they stand there."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from weightslab.studio import runfile
from weightslab_common.embedded import free_ports

from tests.support.processes import Process, wait_until

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "getting-started.md").read_text()
[SCRIPT] = re.findall(r"```python\n(.*?)```", PAGE, re.S)
UP, RUN, LOOK, ALONE = re.findall(r"```sh\n(.*?)```", PAGE, re.S)
PORTS = ("VITE_PORT", "ENVOY_PORT", "ENVOY_ADMIN_PORT", "GRPC_BACKEND_PORT", "CLI_PORT")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's folder with the script, and ports that are free here."""
    (tmp_path / "train.py").write_text(SCRIPT)
    chosen = zip(PORTS, free_ports(len(PORTS)), strict=True)
    (tmp_path / ".env").write_text("".join(f"{name}={port}\n" for name, port in chosen))
    return tmp_path


def _environment() -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("WL_")}
    return {**clean, "OMP_NUM_THREADS": "1", "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def _typed(folder: Path, snippet: str) -> list[str]:
    """The command that runs a snippet as a shell of the user would; its last line takes the place of the shell."""
    *before, last = snippet.strip().splitlines()
    return ["bash", "-ec", "\n".join([f"cd {folder}", *before, f"exec {last}"])]


@pytest.fixture
def run(folder: Path) -> Iterator[Process]:
    process = Process(_typed(folder, RUN), log=folder / "run.log", environment=_environment())
    yield process
    process.signal(signal.SIGINT, timeout_secs=60)


def _look(folder: Path) -> dict[str, object]:
    """What the console says, once the commands of the page do as they should."""
    looked = subprocess.run(
        _typed(folder, LOOK), env=_environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert looked.returncode == 0, looked.stdout + looked.stderr
    said = subprocess.run(
        ["weightslab", "console", "--json", "-c", "status"],
        cwd=folder,
        env=_environment(),
        capture_output=True,
        timeout=60,
        check=True,
    )
    reply = json.loads(said.stdout)
    assert isinstance(reply, dict)
    return reply


def _has_curve(folder: Path) -> bool:
    exported = subprocess.run(
        ["weightslab", "export", "curves"],
        cwd=folder,
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    # 20 epochs of 16 batches.
    return len(re.findall(r"^train/loss,main,train,", exported.stdout, re.M)) == 320


def test_the_script_shows_itself_in_a_studio_that_was_started_before(folder: Path, run: Process) -> None:
    up = Process(_typed(folder, f"{UP.strip()} --no-browser"), log=folder / "up.log", environment=_environment())
    up.start()
    try:
        wait_until(lambda: "#login=" in up.output() or not up.running, what="the address is printed", timeout_secs=60)
        run.start()
        wait_until(lambda: _has_curve(folder) or not run.running, what="every point is stored", timeout_secs=60)
        assert run.running, run.output()
        reply = _look(folder)
        assert reply["experiment"] == "train"
        assert (folder / "curves.csv").read_text().count("\n") == 321
        assert run.signal(signal.SIGINT, timeout_secs=60) == 0, run.output()
        assert runfile.running(folder / ".weightslab"), "the studio goes on"
    finally:
        up.stop(timeout_secs=40)


def test_without_a_studio_the_script_starts_one_and_takes_it_along(folder: Path, run: Process) -> None:
    run.command = _typed(folder, ALONE)
    run.start()
    wait_until(lambda: _has_curve(folder) or not run.running, what="every point is stored", timeout_secs=90)
    assert run.running, run.output()
    assert "Weights Studio: http://localhost:" in run.output()
    assert _look(folder)["trainer_connected"] is True
    assert run.signal(signal.SIGINT, timeout_secs=60) == 0, run.output()
    assert runfile.running(folder / ".weightslab") is None
