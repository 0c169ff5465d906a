"""The gate: a barrier that can be relied on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future

import pytest
from weightslab.gate import Gate, GateState
from weightslab_common.errors import Aborted, FailedPrecondition

from tests.support.processes import wait_until


class Loop:
    """A loop that passes a gate and counts, on a thread of its own."""

    def __init__(self) -> None:
        self.changes = 0
        self.gate = Gate(on_change=self._changed)
        self.steps = 0
        self._ending = False
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._ending = True
        self.gate.close()
        if self._thread.ident:
            self._thread.join(10)
            assert not self._thread.is_alive()

    def _changed(self) -> None:
        self.changes += 1

    def _run(self) -> None:
        while not self._ending:
            self.gate.arrive()
            self.steps += 1
            self.gate.count_step()


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.end()


def test_an_acknowledged_pause_holds_every_step(loop: Loop) -> None:
    loop.start()
    loop.gate.pause().result(5)
    steps = loop.steps
    assert loop.gate.state is GateState.PAUSED
    # A job runs on the loop's thread: had the loop gone on, it would have counted before.
    loop.gate.submit(lambda: None).result(5)
    assert loop.steps == steps
    loop.gate.resume().result(5)
    wait_until(lambda: loop.steps > steps, what="the loop goes on")


def test_a_pause_is_pending_until_the_loop_stands_there(loop: Loop) -> None:
    waiting = loop.gate.pause()
    assert loop.gate.state is GateState.PENDING
    assert not waiting.done()
    loop.start()
    waiting.result(5)
    assert loop.steps == 0


def test_pausing_twice_is_pausing_once(loop: Loop) -> None:
    loop.start()
    loop.gate.pause().result(5)
    loop.gate.pause().result(5)
    loop.gate.resume().result(5)
    loop.gate.resume().result(5)
    assert loop.gate.state is GateState.RUNNING


def test_a_replaced_request_is_told_so(loop: Loop) -> None:
    replaced = loop.gate.pause()
    loop.gate.resume().result(5)
    with pytest.raises(Aborted, match="replaced by a later resume"):
        replaced.result(5)
    assert loop.gate.state is GateState.RUNNING


@pytest.mark.parametrize("last", ["pause", "resume"])
def test_twenty_quick_toggles_end_in_the_last_one(loop: Loop, last: str) -> None:
    loop.start()
    asked: list[Future[None]] = []
    for number in range(20):
        paused = (number % 2 == 1) == (last == "pause")
        asked.append(loop.gate.pause() if paused else loop.gate.resume())
    asked[-1].result(5)
    assert loop.gate.state is (GateState.PAUSED if last == "pause" else GateState.RUNNING)


def test_resume_for_some_steps_pauses_by_itself_after_exactly_those(loop: Loop) -> None:
    loop.gate.pause()
    loop.start()
    wait_until(lambda: loop.gate.state is GateState.PAUSED, what="the loop is held")
    loop.gate.resume(step_count=7).result(5)
    wait_until(lambda: loop.gate.state is GateState.PAUSED, what="it pauses by itself")
    assert loop.steps == 7


def test_a_job_runs_on_the_loops_thread_while_it_is_held(loop: Loop) -> None:
    loop.start()
    loop.gate.pause().result(5)
    assert loop.gate.submit(threading.get_ident).result(5) != threading.get_ident()


def test_an_error_of_a_job_goes_to_who_asked(loop: Loop) -> None:
    loop.start()

    def fail() -> None:
        raise FailedPrecondition("no")

    with pytest.raises(FailedPrecondition, match="no"):
        loop.gate.submit(fail).result(5)


def test_a_withdrawn_job_is_not_done(loop: Loop) -> None:
    done: list[int] = []
    withdrawn = loop.gate.submit(lambda: done.append(1))
    assert withdrawn.cancel()
    kept = loop.gate.submit(lambda: done.append(2))
    loop.start()
    kept.result(5)
    assert done == [2]


def test_a_loop_that_waits_for_a_condition_can_be_paused_and_goes_on_when_it_holds(loop: Loop) -> None:
    opened = threading.Event()
    gone_on = threading.Event()

    def wait() -> None:
        loop.gate.wait_for(opened.is_set)
        gone_on.set()

    waiter = threading.Thread(target=wait)
    waiter.start()
    loop.gate.pause().result(5)
    opened.set()
    loop.gate.poke()
    assert loop.gate.state is GateState.PAUSED
    loop.gate.resume().result(5)
    assert gone_on.wait(5)
    waiter.join()


def test_a_finished_loop_is_paused_at_once_and_cannot_be_resumed() -> None:
    gate = Gate(on_change=lambda: None)
    standing = threading.Thread(target=gate.finish)
    standing.start()
    wait_until(lambda: gate.state is GateState.PAUSED, what="the finished loop stands")
    gate.pause().result(5)
    with pytest.raises(FailedPrecondition, match="has ended"):
        gate.resume()
    assert gate.submit(lambda: 3).result(5) == 3
    gate.close()
    standing.join(5)
    assert not standing.is_alive()
