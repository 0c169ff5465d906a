"""Curating a live run with a tool: time to the first curve, pages, edits, edits after SIGKILL, many viewers.

    python -m bench.compare.curation TOOL DATASET

Starts `live` with the Python that runs this, and prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.compare.clients import CLIENTS, Client
from bench.compare.live import COUNTER

START_SECS = 120.0
WATCH_SECS = 8.0
KILLS = 5
PORTS = {
    "GRPC_BACKEND_PORT": "50951",
    "ENVOY_PORT": "50952",
    "ENVOY_ADMIN_PORT": "50953",
    "VITE_PORT": "50954",
}


class LiveRun:
    """The watched run and everything that it starts, as one group of processes."""

    def __init__(self, tool: str, dataset: str, folder: Path) -> None:
        self.tool, self.folder = tool, folder
        self._command = [sys.executable, "-m", "bench.compare.live", tool, dataset, "--folder", str(folder)]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Client:
        """Return a client once the run answers, with the seconds it took to a first point in `first_point_secs`."""
        began = time.monotonic()
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, start_new_session=True, cwd=self.folder
            )
        client: Client | None = None
        while True:
            try:
                client = client or CLIENTS[self.tool](self.folder)
                if client.has_point():
                    self.first_point_secs = time.monotonic() - began
                    return client
            except Exception as error:
                if time.monotonic() - began > START_SECS:
                    raise TimeoutError(f"no point within {START_SECS:g} s: {error}") from error
            if self._process.poll() is not None:
                raise RuntimeError((self.folder / "log").read_text()[-2000:])
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL all of it at once."""
        assert self._process
        for child in _family(self._process.pid):
            os.kill(child, signal.SIGKILL)
        self._process.wait()

    def steps(self) -> int:
        return int(np.memmap(self.folder / COUNTER, dtype=np.int64, mode="r", shape=(1,))[0])


def _family(pid: int) -> list[int]:
    import psutil

    process = psutil.Process(pid)
    return [child.pid for child in process.children(recursive=True)] + [pid]


def _milliseconds(ask: Callable[[], object], *, times: int) -> list[float]:
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        ask()
        taken.append((time.perf_counter() - start) * 1e3)
    return sorted(taken)


def _p50_p95(taken: list[float]) -> dict[str, float]:
    return {"p50_ms": round(statistics.median(taken), 2), "p95_ms": round(taken[math.ceil(0.95 * len(taken)) - 1], 2)}


def _viewers(run: LiveRun, count: int) -> dict[str, Any]:
    """`count` viewers ask for a page a second each: how long a page takes, and what is left of the training's speed."""
    end = threading.Event()
    taken: list[float] = []
    failed: list[str] = []

    def view() -> None:
        client = CLIENTS[run.tool](run.folder)
        while not end.is_set():
            start = time.perf_counter()
            try:
                client.page()
                taken.append((time.perf_counter() - start) * 1e3)
            except Exception as error:
                failed.append(str(error)[:200])
            end.wait(max(0.0, 1.0 - (time.perf_counter() - start)))
        client.close()

    alone = _steps_per_sec(run)
    threads = [threading.Thread(target=view, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    watched = _steps_per_sec(run)
    end.set()
    for thread in threads:
        thread.join(timeout=150)
    pages = _p50_p95(sorted(taken)) if taken else {}
    return {"viewers": count, **pages, "failed": len(failed), "step_time_ratio": round(alone / max(watched, 1e-9), 3)}


def _steps_per_sec(run: LiveRun) -> float:
    first, start = run.steps(), time.perf_counter()
    time.sleep(WATCH_SECS)
    return (run.steps() - first) / (time.perf_counter() - start)


def _kept_after_kill(run: LiveRun, client: Client) -> int:
    """How many of `KILLS` discards are there after everything was killed right after they were acknowledged."""
    # Anew, because a filter of before may be everybody's view.
    run.kill()
    client.close()
    client = run.start()
    # A control: without a kill a discard can be read back, or the count below would say nothing.
    client.discard(["1"])
    _wait_for(lambda: client.discarded_count() == 1)
    kept = 0
    for number in range(KILLS):
        uids = [str(100 + number * 10 + offset) for offset in range(10)]
        before = client.discarded_count()
        client.discard(uids)
        run.kill()
        client.close()
        client = run.start()
        kept += client.discarded_count() == before + len(uids)
    return kept


def _wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "an edit cannot be read back"
        time.sleep(0.1)


def measure(tool: str, dataset: str) -> dict[str, Any]:
    os.environ |= {**PORTS, "WL_NO_TELEMETRY": "1", "GRPC_TLS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        run = LiveRun(tool, dataset, Path(name))
        client = run.start()
        first_point_secs = run.first_point_secs
        try:
            time.sleep(WATCH_SECS)
            result = {
                "tool": tool,
                "dataset": dataset,
                "first_point_secs": round(first_point_secs, 2),
                "page": _p50_p95(_milliseconds(client.page, times=20)),
                "viewers": [_viewers(run, count) for count in (1, 16, 64)],
                "tag_1": _p50_p95(_milliseconds(lambda: client.tag(["3"], "one"), times=10)),
                "tag_1000": _p50_p95(_milliseconds(lambda: client.tag([*map(str, range(1000))], "many"), times=5)),
            }
            result["edits_kept_after_sigkill"] = f"{_kept_after_kill(run, client)} of {KILLS}"
        finally:
            run.kill()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tool", choices=CLIENTS)
    parser.add_argument("dataset", choices=["digits", "synthetic"])
    given = parser.parse_args()
    print("\n" + json.dumps(measure(given.tool, given.dataset)), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
