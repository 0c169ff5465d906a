"""A service as a process: restarted when it dies, ended with everything it started."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest
from weightslab.studio import child as child_module
from weightslab.studio import development
from weightslab.studio.child import LAUNCHER, Child
from weightslab.studio.output import Output
from weightslab.studio.plan import Service
from weightslab.studio.probes import TcpProbe
from weightslab_common.embedded import free_port

from tests.support.processes import wait_until

SLEEP = "import time; time.sleep(60)"
Make = Callable[..., Child]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    output = Output(level="ERROR", format="json", stream=None, file=None)
    made: list[Child] = []

    def new(code: str, *, probe: TcpProbe | None = None, finite: bool = False) -> Child:
        service = Service(name="svc", purpose="test", command=[sys.executable, "-c", code], probe=probe, finite=finite)
        made.append(Child(service, environment={"GIVEN": "yes"}, output=output))
        return made[-1]

    yield new
    for child in made:
        await child.stop(patience_secs=0.2)
    output.close()


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def _pid(child: Child) -> int:
    entry = child.entry
    assert entry
    return entry.pid


async def test_a_killed_service_is_started_again_and_counted(make: Make) -> None:
    child = make(SLEEP)
    child.start()
    keeper = asyncio.create_task(child.keep())
    await child.wait_ready()
    first = _pid(child)
    os.kill(first, signal.SIGKILL)
    await _until(lambda: child.running and _pid(child) != first)
    assert child.restarts == 1
    await child.stop()
    assert await keeper == ""
    assert not child.running


async def test_a_service_that_never_gets_ready_is_given_up_with_its_last_words(make: Make) -> None:
    child = make("print('the disk is missing'); raise SystemExit(1)", probe=TcpProbe("127.0.0.1", free_port()))
    child.start()
    reason = await asyncio.wait_for(child.keep(), 60)
    assert "svc (test) ended with status 1 before it was ready" in reason
    assert "the disk is missing" in reason
    assert child.restarts == child_module.FIRST_TRIES - 1


async def test_a_wrong_setting_is_not_tried_again(make: Make) -> None:
    child = make("raise SystemExit(2)")
    child.start()
    assert "ended with status 2" in await asyncio.wait_for(child.keep(), 60)
    assert child.restarts == 0


async def test_a_finite_service_that_is_done_is_left_alone(make: Make) -> None:
    child = make("pass", finite=True)
    child.start()
    assert await asyncio.wait_for(child.keep(), 60) == ""
    assert child.finished
    assert child.restarts == 0


async def test_the_environment_is_passed_on(make: Make) -> None:
    child = make("import os; raise SystemExit(2 if os.environ['GIVEN'] == 'yes' else 1)")
    child.start()
    assert "status 2" in await asyncio.wait_for(child.keep(), 60)


async def test_a_service_that_ignores_sigterm_is_killed(make: Make, tmp_path: Path) -> None:
    marker = tmp_path / "set"
    code = f"import signal, pathlib; signal.signal(15, signal.SIG_IGN); pathlib.Path({str(marker)!r}).touch(); {SLEEP}"
    child = make(code)
    child.start()
    await _until(marker.exists)
    pid = _pid(child)
    await child.stop(patience_secs=0.3)
    assert not psutil.pid_exists(pid)


async def test_what_a_service_started_ends_with_it(make: Make, tmp_path: Path) -> None:
    marker = tmp_path / "pid"
    code = (
        "import subprocess, sys, pathlib; "
        f"p = subprocess.Popen([sys.executable, '-c', {SLEEP!r}], start_new_session=True); "
        f"pathlib.Path({str(marker)!r}).write_text(str(p.pid)); {SLEEP}"
    )
    child = make(code)
    child.start()
    await _until(lambda: marker.exists() and bool(marker.read_text()))
    grandchild = int(marker.read_text())
    await child.stop()
    await _until(lambda: not psutil.pid_exists(grandchild) or psutil.Process(grandchild).status() == "zombie")


def test_a_service_dies_when_its_supervisor_is_killed(tmp_path: Path) -> None:
    marker = tmp_path / "pid"
    service = f"import os, pathlib, time; pathlib.Path({str(marker)!r}).write_text(str(os.getpid())); time.sleep(60)"
    supervisor = (
        "import os, subprocess, sys, time; "
        f"subprocess.Popen([sys.executable, '-I', '-S', {str(LAUNCHER)!r}, str(os.getpid()), "
        f"sys.executable, '-c', {service!r}], start_new_session=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", supervisor])
    try:
        wait_until(lambda: marker.exists() and bool(marker.read_text()), what="the service runs")
        pid = int(marker.read_text())
        assert psutil.pid_exists(pid)
    finally:
        process.kill()
        process.wait()
    wait_until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie", what="it has died")


def test_a_launcher_whose_parent_has_gone_starts_nothing() -> None:
    result = subprocess.run([sys.executable, str(LAUNCHER), "1", "echo", "started"], capture_output=True, text=True)
    assert result.returncode == 1
    assert "started" not in result.stdout


def test_a_missing_program_is_named() -> None:
    result = subprocess.run(
        [sys.executable, str(LAUNCHER), str(os.getpid()), "/nonexistent/server"], capture_output=True, text=True
    )
    assert "/nonexistent/server: No such file or directory" in result.stderr


async def test_a_service_whose_source_changes_is_started_again_and_no_other(make: Make, tmp_path: Path) -> None:
    children = {name: make(SLEEP) for name in ("one", "two")}
    watched = {}
    for name, child in children.items():
        child.service = dataclasses.replace(child.service, name=name)
        watched[name] = [tmp_path / name]
        (tmp_path / name).mkdir()
        child.start()
    keepers = [asyncio.create_task(child.keep()) for child in children.values()]
    output = Output(level="ERROR", format="json", stream=None, file=None)
    watching = asyncio.create_task(development.keep_current(children.values(), watched, output=output))
    before = {name: _pid(child) for name, child in children.items()}
    try:
        count = 0
        async with asyncio.timeout(60):
            # The watch begins at some moment after it was started.
            while _pid(children["one"]) == before["one"]:
                (tmp_path / "one" / "module.py").write_text(f"{count}")
                (tmp_path / "two" / "notes.txt").write_text(f"{count}")
                count += 1
                await asyncio.sleep(0.3)
                await _until(lambda: children["one"].running)
        assert _pid(children["two"]) == before["two"]
        assert children["one"].restarts == 0, "it did not fail"
    finally:
        for task in (watching, *keepers):
            task.cancel()
        await asyncio.gather(watching, *keepers, return_exceptions=True)
        output.close()
