"""Which training processes use the studio of a folder: each holds a lock on one file, shared with the others.

The kernel takes a hold back when its process ends, however that ends. The studio that the first of them has started
ends when it gets the lock for itself; until it has ended nobody can attach to it.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from pathlib import Path

from weightslab_common.errors import FailedPrecondition

from weightslab.studio.runfile import run_folder

_POLL_SECS = 0.05
_WATCH_SECS = 0.5


class Hold:
    """A process's hold on the studio of `data_dir`. Waits while that studio is ending.

    Raises FailedPrecondition when it has not ended within `timeout_secs`.
    """

    def __init__(self, data_dir: Path, *, timeout_secs: float) -> None:
        self._descriptor: int | None = _opened(data_dir)
        # A fork, such as a loader's worker, would hold on after this process has let go.
        os.register_at_fork(after_in_child=self._close)
        end = time.monotonic() + timeout_secs
        while not _locked(self._descriptor, fcntl.LOCK_SH):
            if time.monotonic() > end:
                self._close()
                raise FailedPrecondition(f"the studio in {data_dir} has been ending for {timeout_secs:g} s; try again")
            time.sleep(_POLL_SECS)

    def alone(self) -> bool:
        """Whether no other process has a hold; if so none gets one before `release`."""
        if self._descriptor is None:
            return False
        # flock(2) gives the shared lock up before it tries for the exclusive one. A studio that was quicker has found
        # itself abandoned, and then lets nobody have a shared one either.
        return _locked(self._descriptor, fcntl.LOCK_EX) or not _locked(self._descriptor, fcntl.LOCK_SH)

    def release(self) -> None:
        self._close()

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


async def abandoned(data_dir: Path) -> None:
    """Return when no process has a hold; from then on none gets one until this process has ended."""
    # Never closed: it goes with the process.
    descriptor = _opened(data_dir)
    while not _locked(descriptor, fcntl.LOCK_EX):  # noqa: ASYNC110 - nobody tells of a process that was killed
        await asyncio.sleep(_WATCH_SECS)


def _opened(data_dir: Path) -> int:
    run_folder(data_dir).mkdir(parents=True, exist_ok=True)
    return os.open(run_folder(data_dir) / "runs.lock", os.O_RDWR | os.O_CREAT, 0o600)


def _locked(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
