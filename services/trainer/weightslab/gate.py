"""The gate: the place before each batch where the training thread can be held and where changes are applied.

The training thread calls `arrive`; any other thread asks. Passing an open gate costs one attribute read.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from enum import StrEnum
from typing import Any, TypeVar

from weightslab_common.errors import Aborted, FailedPrecondition

ResultT = TypeVar("ResultT")


class GateState(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"


class _Job:
    """A change to be made on the training thread, and who waits for it."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work = work
        self.future: Future[Any] = Future()

    def run(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            self.future.set_result(self._work())
        except Exception as error:
            self.future.set_exception(error)


def _settle(futures: list[Future[None]], error: Exception | None = None) -> None:
    for future in futures:
        if not future.set_running_or_notify_cancel():
            continue
        if error:
            future.set_exception(error)
        else:
            future.set_result(None)
    futures.clear()


class Gate:
    """Pause, resume and jobs. `on_change` is called, from any thread and with the gate locked, when `state` changes."""

    def __init__(self, *, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._condition = threading.Condition()
        self._jobs: deque[_Job] = deque()
        self._pause_wanted = False
        self._held = False
        self._steps_left = 0
        self._closed = False
        self._pausers: list[Future[None]] = []
        self._resumers: list[Future[None]] = []
        # The only thing an open gate looks at.
        self._attention = False
        self.finished = False

    @property
    def state(self) -> GateState:
        if self._pause_wanted == self._held:
            return GateState.PAUSED if self._held else GateState.RUNNING
        return GateState.PENDING

    @property
    def wants_attention(self) -> bool:
        """Whether somebody asked for something since the gate was passed last."""
        return self._attention

    def pause(self) -> Future[None]:
        """Hold the loop at its next arrival; the future is done when it stands there."""
        with self._condition:
            waiting: Future[None] = Future()
            self._pausers.append(waiting)
            self._want(pause=True)
            return waiting

    def resume(self, *, step_count: int = 0) -> Future[None]:
        """Let the loop go on, for `step_count` optimizer steps if that is not 0; done when it goes on."""
        with self._condition:
            if self.finished:
                raise FailedPrecondition(
                    "the training loop has ended: there is nothing to resume; run the script again"
                )
            self._steps_left = step_count
            waiting: Future[None] = Future()
            self._resumers.append(waiting)
            self._want(pause=False)
            return waiting

    def submit(self, work: Callable[[], ResultT]) -> Future[ResultT]:
        """Run `work` on the training thread when it stands at or next comes to the gate."""
        job = _Job(work)
        with self._condition:
            if self._closed:
                raise FailedPrecondition("the run is shutting down")
            self._jobs.append(job)
            self._attention = True
            self._condition.notify_all()
        return job.future

    def poke(self) -> None:
        """Let a loop that waits for a condition look at it again."""
        with self._condition:
            self._condition.notify_all()

    def arrive(self) -> None:
        """Called by the training thread before each batch; returns when it may go on."""
        if self._attention:
            self.wait_for(lambda: True)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Stand here, obeying pauses and jobs, until `condition` holds."""
        while (job := self._next_job(condition)) is not None:
            job.run()

    def count_step(self) -> None:
        """Called by the training thread after each optimizer step."""
        if self._steps_left:
            with self._condition:
                self._steps_left -= 1
                if self._steps_left == 0:
                    self._want(pause=True)

    def finish(self) -> None:
        """The loop has ended: stand here, obeying jobs, until `close`."""
        with self._condition:
            self.finished = True
            self._want(pause=True)
        self.wait_for(lambda: False)

    def close(self) -> None:
        """Let everybody go, for good."""
        with self._condition:
            self._closed = True
            self._attention = True
            self._condition.notify_all()
            for waiting in (self._resumers, self._pausers):
                _settle(waiting, FailedPrecondition("the run is shutting down"))

    def _want(self, *, pause: bool) -> None:
        replaced, kept = (self._resumers, self._pausers) if pause else (self._pausers, self._resumers)
        _settle(replaced, Aborted(f"replaced by a later {'pause' if pause else 'resume'}"))
        self._pause_wanted = pause
        if self._held == pause:
            _settle(kept)
        self._attention = True
        self._condition.notify_all()
        self._on_change()

    def _next_job(self, condition: Callable[[], bool]) -> _Job | None:
        with self._condition:
            while not self._closed:
                if self._jobs:
                    return self._jobs.popleft()
                if self._held != self._pause_wanted:
                    self._held = self._pause_wanted
                    _settle(self._pausers if self._held else self._resumers)
                    self._on_change()
                if not self._held and condition():
                    self._attention = False
                    return None
                self._condition.wait()
            for job in self._jobs:
                job.future.cancel()
            self._jobs.clear()
            return None
