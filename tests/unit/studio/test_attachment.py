"""A training process and the studio it uses, from its first hold to the studio's last moment."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
from weightslab.studio import attach_embedded, runfile

from tests.support.processes import wait_until

# Ends as a studio does, and is slow about it: it gives up the folder, and its process ends a while later.
SLOW_STUDIO = """
import asyncio, os, sys, time
from pathlib import Path
from weightslab.studio import hold, runfile

folder = Path(sys.argv[1])
with runfile.owned(folder):
    entry = runfile.StudioEntry(
        pid=os.getpid(), state="ready", page_url="http://localhost:1", nats_url="nats://127.0.0.1:1",
        redis_url="", web_port=1, admin_port=1, grpc_port=1, page_port=1, version="1", ends_with_runs=True,
    )
    runfile.write(folder, entry)
    print("ready", flush=True)
    sys.stdin.readline()
    asyncio.run(hold.abandoned(folder))
time.sleep(1)
"""


@contextlib.contextmanager
def _slow_studio(folder: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", SLOW_STUDIO, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def _go_on(process: subprocess.Popen[str]) -> None:
    assert process.stdin
    process.stdin.write("\n")
    process.stdin.flush()


def test_the_last_run_waits_until_the_process_of_the_studio_has_ended(tmp_path: Path) -> None:
    with _slow_studio(tmp_path) as studio:
        handle = attach_embedded(tmp_path)
        _go_on(studio)
        handle.close()
        assert psutil.Process(studio.pid).status() == psutil.STATUS_ZOMBIE, "only its parent has not asked for it yet"


def test_a_run_that_lets_go_before_another_does_not_wait(tmp_path: Path) -> None:
    with _slow_studio(tmp_path) as studio:
        first, last = attach_embedded(tmp_path), attach_embedded(tmp_path)
        _go_on(studio)
        first.close()
        assert runfile.is_locked(tmp_path), "the studio goes on"
        assert studio.poll() is None
        last.close()
        assert studio.wait(60) == 0


def test_a_studio_that_starts_is_not_taken_for_the_one_that_was_killed(tmp_path: Path) -> None:
    with _slow_studio(tmp_path) as studio:
        studio.kill()
        wait_until(lambda: not runfile.is_locked(tmp_path), what="it has gone", timeout_secs=60)
    left = runfile.read(tmp_path)
    assert left
    assert left.state == "ready"
    with runfile.owned(tmp_path) as previous:
        assert previous == left
        now = runfile.running(tmp_path)
        assert now
        assert now.state == "starting"
