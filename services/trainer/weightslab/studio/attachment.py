"""A studio for training processes that have no bus: started by the first of them, ended with the last."""

from __future__ import annotations

import contextlib
import logging
import subprocess
import sys
import time
from pathlib import Path

import psutil
from weightslab_common.errors import FailedPrecondition
from weightslab_common.settings import load
from weightslab_common.tokens import Role

from weightslab.studio import runfile
from weightslab.studio.hold import Hold
from weightslab.studio.settings import StudioSettings

log = logging.getLogger(__name__)

# A little more than the studio itself waits for its services.
READY_SECS = 130.0
STOP_SECS = 30.0
_POLL_SECS = 0.05


class StudioHandle:
    """A running studio. `close` lets go of it, and ends it when this was the last process that used it."""

    def __init__(
        self,
        entry: runfile.StudioEntry,
        *,
        nats_token: str | None,
        url: str,
        hold: Hold,
        process: subprocess.Popen[bytes] | None,
    ) -> None:
        self.nats_url = entry.nats_url
        self.nats_token = nats_token
        # The page's address with a one-time login.
        self.url = url
        self._entry = entry
        # From here on a later process with the same pid is not taken for it; None: it has just ended.
        self._studio = _process(entry.pid)
        self._hold: Hold | None = hold
        # None: another process has started it.
        self._process = process

    def close(self) -> None:
        """Let go. The studio also notices by itself when the last process that used it has ended."""
        hold, self._hold = self._hold, None
        if hold is None:
            return
        alone, process = hold.alone(), self._process
        try:
            if alone and process:
                _end(process)
        finally:
            hold.release()
        if not self._entry.ends_with_runs:
            return
        if alone and process is None:
            _wait_until_ended(self._studio)
        elif not alone:
            log.info("the studio at %s goes on for another run", self._entry.page_url)
            if process:
                # Nobody waits for it any more: it outlives this process.
                process.returncode = 0


def attach_embedded(data_dir: Path) -> StudioHandle:
    """Start a studio in `data_dir`, or use the one that runs there; print its address with a one-time login.

    The studio is a process of its own; one that was started here ends with the last process that is attached to it,
    one that `weightslab up` has started does not. Raises FailedPrecondition with the reason when it cannot start.
    """
    settings = load(StudioSettings, data_dir=data_dir)
    hold = Hold(data_dir, timeout_secs=STOP_SECS)
    try:
        process, entry = _found_or_started(data_dir)
    except BaseException:
        hold.release()
        raise
    # Here, so that only a process that attaches pays for what it imports.
    from weightslab.studio.plan import editor_token, nats_token
    from weightslab.studio.session import link

    url = link(page_url=entry.page_url, token=editor_token(settings), role=Role.EDITOR)
    sys.stdout.write(f"Weights Studio: {url}\n")
    sys.stdout.flush()
    return StudioHandle(entry, nats_token=nats_token(settings), url=url, hold=hold, process=process)


def _found_or_started(data_dir: Path) -> tuple[subprocess.Popen[bytes] | None, runfile.StudioEntry]:
    """The studio of the folder when it is ready, and its process when it was started here."""
    process: subprocess.Popen[bytes] | None = None
    end = time.monotonic() + READY_SECS
    while time.monotonic() < end:
        entry = runfile.running(data_dir)
        if entry and entry.state == "ready":
            return _own(process, entry), entry
        if process is None and not runfile.is_locked(data_dir):
            process = _started(data_dir)
        # Of two that start at once, one finds the folder owned by the other, and then waits for that one.
        elif process and process.poll() is not None and not runfile.is_locked(data_dir):
            reason = _said(data_dir).read_text(errors="replace").strip()
            raise FailedPrecondition(f"the studio did not start: {reason or f'it ended with {process.returncode}'}")
        time.sleep(_POLL_SECS)
    if process:
        _end(process)
    raise FailedPrecondition(f"the studio was not ready within {READY_SECS:g} s; see {_said(data_dir).parent}")


def _own(process: subprocess.Popen[bytes] | None, entry: runfile.StudioEntry) -> subprocess.Popen[bytes] | None:
    if process and process.pid != entry.pid:
        process.wait(STOP_SECS)
        return None
    return process


def _started(data_dir: Path) -> subprocess.Popen[bytes]:
    runfile.run_folder(data_dir).mkdir(parents=True, exist_ok=True)
    with _said(data_dir).open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "weightslab.studio", "--data-dir", str(data_dir), "--while-attached"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=output,
            # A Ctrl-C is for the training run, which then ends its studio in order.
            start_new_session=True,
        )


def _said(data_dir: Path) -> Path:
    """What a studio that cannot start says."""
    return runfile.run_folder(data_dir) / "studio.err"


def _process(pid: int) -> psutil.Process | None:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid)
    return None


def _wait_until_ended(studio: psutil.Process | None) -> None:
    """Wait for a process that is not a child of this one, which gives up its folder a while before it has ended."""
    end = time.monotonic() + STOP_SECS
    with contextlib.suppress(psutil.NoSuchProcess):
        # A run that started it and goes on does not wait for it, and leaves a zombie.
        while studio and studio.is_running() and studio.status() != psutil.STATUS_ZOMBIE and time.monotonic() < end:
            time.sleep(_POLL_SECS)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
