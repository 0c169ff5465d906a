"""`weightslab up` and `weightslab demo` as a user starts them: real processes, on free ports."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
from weightslab.studio import runfile
from weightslab_common.embedded import free_ports

from tests.support.processes import PATIENCE_SECS, Process, wait_until
from tests.support.studio import EXPERIMENT

WEIGHTSLAB = str(Path(sys.executable).parent / "weightslab")
LINK = re.compile(r"http://localhost:\d+/#login=(\S+)")
# For services and then a first curve.
_START_SECS = 200
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "WL_EXPERIMENT": EXPERIMENT}


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
        self.environment = {**ENVIRONMENT, **environment}
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
            timeout_secs=_START_SECS,
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


def answer(port: int, path: str = "/") -> httpx.Response | None:
    """What a loopback port answers to a browser's GET; None while nothing listens there."""
    try:
        return httpx.get(f"http://localhost:{port}{path}", timeout=PATIENCE_SECS, headers={"accept": "text/html"})
    except httpx.TransportError:
        return None


def is_ready(admin_port: int) -> bool:
    """Whether a gateway says that every part answers."""
    said = answer(admin_port, "/readyz")
    return said is not None and said.status_code == 200


def alive(pids: list[int]) -> list[int]:
    """Those of the processes that still run."""

    def runs(pid: int) -> bool:
        try:
            return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    return [pid for pid in pids if runs(pid)]


def family_of(pid: int) -> list[int]:
    """A process and all that it has started."""
    return [pid, *(process.pid for process in psutil.Process(pid).children(recursive=True))]
