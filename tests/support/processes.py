"""Real processes for tests: started, awaited by what they answer, killed by their own id."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

# Generous: what is waited for comes in seconds on an idle machine, and a busy one is no fault of what is tested.
PATIENCE_SECS = 60.0


def wait_until(condition: Callable[[], bool], *, what: str, timeout_secs: float = PATIENCE_SECS) -> None:
    """Poll `condition` until it holds; raise TimeoutError that says `what` did not happen."""
    end = time.monotonic() + timeout_secs
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {timeout_secs:g} s")
        time.sleep(0.02)


def accepts(port: int) -> bool:
    """Whether something listens on a loopback port."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Process:
    """A process of a test, with its output in a file."""

    def __init__(self, command: list[str], *, log: Path, environment: Mapping[str, str] | None = None) -> None:
        self.command = command
        self.log = log
        self.environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None
        # A file that may not grow is an error to this process, and no signal that ends it.
        self.ignores_file_limit = False

    def change_environment(self, changes: Mapping[str, str]) -> None:
        """Let the next start have other variables."""
        self.environment |= changes

    def start(self) -> None:
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self.command,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.environment,
                start_new_session=True,
                # Python ignores SIGXFSZ, and a child does as its parent unless its signals are restored.
                restore_signals=not self.ignores_file_limit,
            )

    @property
    def pid(self) -> int:
        assert self._process, "not started"
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.signal(signal.SIGKILL)

    def stop(self, timeout_secs: float = PATIENCE_SECS) -> int | None:
        """SIGTERM, and return the exit status; SIGKILL when it does not end in time."""
        return self.signal(signal.SIGTERM, timeout_secs)

    def signal(self, number: signal.Signals, timeout_secs: float = PATIENCE_SECS) -> int | None:
        if self._process is None:
            return None
        if self._process.poll() is None:
            self._process.send_signal(number)
        try:
            return self._process.wait(timeout_secs)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise

    def output(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""
