"""One service as a process: started, watched, started again when it dies, stopped."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path

import psutil

from weightslab.studio.output import Output
from weightslab.studio.plan import Service
from weightslab.studio.records import Record
from weightslab.studio.runfile import ServiceEntry

LAUNCHER = Path(__file__).with_name("launcher.py")
# A service told to end has this long before it is killed.
STOP_SECS = 10.0
# Pauses before starting again: doubled each time, forgotten after a good while.
FIRST_PAUSE_SECS, LONGEST_PAUSE_SECS, GOOD_WHILE_SECS = 0.25, 10.0, 30.0
# A service that ends so often before it was ever ready will not get ready.
FIRST_TRIES = 3
# What a service exits with when a setting is wrong: trying again is of no use.
WRONG_SETTING_STATUS = 2
_POLL_SECS = 0.05
_KEPT_RECORDS = 20


class Child:
    """Runs `keep` as its only owner; the other methods may be called beside it."""

    def __init__(self, service: Service, *, environment: Mapping[str, str], output: Output) -> None:
        self.service = service
        self.restarts = 0
        self.ready = asyncio.Event()
        self.finished = False
        self._environment = {**os.environ, **environment, **service.environment}
        self._output = output
        self._process: subprocess.Popen[bytes] | None = None
        self._created_unix_secs = 0.0
        self._stopping = False
        self._replacing = False
        self._last: deque[Record] = deque(maxlen=_KEPT_RECORDS)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def entry(self) -> ServiceEntry | None:
        """Its pid and when it was made, or None when it does not run."""
        if not self.running or self._process is None:
            return None
        return ServiceEntry(self.service.name, self._process.pid, self._created_unix_secs)

    def start(self) -> None:
        """Start the process in a session of its own, so that a Ctrl-C of the terminal does not reach it."""
        self._last.clear()
        receiving, sending = os.pipe()
        command = [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), *self.service.command]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=sending,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )
        finally:
            os.close(sending)
        with contextlib.suppress(psutil.Error):
            self._created_unix_secs = psutil.Process(self._process.pid).create_time()
        self._output.follow(self.service.name, receiving, keep=self._last.append)

    async def keep(self) -> str:
        """Keep the service running until it is stopped, has finished, or cannot get ready.

        Returns a sentence that says why it cannot, else an empty one.
        """
        pause, tries = FIRST_PAUSE_SECS, 0
        while True:
            started = time.monotonic()
            status = await self._exited()
            if self._stopping:
                return ""
            if self.service.finite and status == 0:
                self.finished = True
                self._output.say("INFO", f"{self.service.purpose} has ended", name=self.service.name)
                return ""
            if self._replacing:
                self._replacing = False
                self.start()
                continue
            tries += 1
            if not self.ready.is_set() and (status == WRONG_SETTING_STATUS or tries >= FIRST_TRIES):
                return self._failure(status)
            if time.monotonic() - started > GOOD_WHILE_SECS:
                pause = FIRST_PAUSE_SECS
            self._output.say("WARNING", f"{self.service.name} {_ended(status)}; starting it again in {pause:g} s")
            await asyncio.sleep(pause)
            if self._stopping:
                return ""
            pause = min(2 * pause, LONGEST_PAUSE_SECS)
            self.restarts += 1
            self.start()

    async def wait_ready(self) -> None:
        """Return when the service answers."""
        while not self.ready.is_set():
            if self.running and (self.service.probe is None or await self.service.probe.ready()):
                self.ready.set()
            else:
                await asyncio.sleep(_POLL_SECS)

    def replace(self) -> None:
        """End the process, so that `keep` starts it again at once."""
        if self.running and self._process and not self._stopping:
            self._replacing = True
            self._process.terminate()

    async def stop(self, *, patience_secs: float = STOP_SECS) -> None:
        """SIGTERM, later SIGKILL; what the service has itself started is ended with it."""
        self._stopping = True
        if self._process is None:
            return
        offspring = self._offspring()
        if self.running:
            self._process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._exited(), patience_secs)
        if self.running:
            self._output.say("WARNING", f"{self.service.name} did not end within {patience_secs:g} s and is killed")
            self._process.kill()
            await self._exited()
        for process in offspring:
            with contextlib.suppress(psutil.Error):
                process.kill()

    def _offspring(self) -> list[psutil.Process]:
        try:
            return psutil.Process(self._process.pid).children(recursive=True) if self._process else []
        except psutil.Error:
            return []

    async def _exited(self) -> int:
        # Polled: a waiting thread per service would have to be woken to stop, and nothing hangs on 50 ms here.
        assert self._process, "not started"
        while (status := self._process.poll()) is None:  # noqa: ASYNC110
            await asyncio.sleep(_POLL_SECS)
        return status

    def _failure(self, status: int) -> str:
        said = "\n".join(f"  {record.message}" for record in self._last)
        return f"{self.service.name} ({self.service.purpose}) {_ended(status)} before it was ready" + (
            f"; it said last:\n{said}" if said else ""
        )


def _ended(status: int) -> str:
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return f"ended with status {status}"
