"""A process with loops, pinned to the core of the training, and ratios of what they cost by turns."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from bench.training.services import ROOT, STOP_SECS, cores, pin
from bench.training.spread import spread

Cost = dict[str, float]


class LoopProcess:
    """Loops of `bench.training.loop` in one process on the core of the training; what it starts, on the other."""

    def __init__(self, kinds: Sequence[str], *, folder: Path, environment: Mapping[str, str]) -> None:
        self.kinds = list(kinds)
        folder.mkdir(parents=True, exist_ok=True)
        training, _ = cores()
        command = [sys.executable, "-m", "bench.training.loop", *kinds, "--folder", str(folder)]
        taskset = [] if training is None else ["taskset", "-c", str(training)]
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [*taskset, *command],
                env={**environment, "OMP_NUM_THREADS": "1"},
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._log = folder / "log"
        self._read()

    def ask(self, name: str, *arguments: object) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([name, *arguments]) + "\n")
        self._process.stdin.flush()
        return json.loads(self._read())

    def pin_children(self) -> None:
        for pid in self.ask("children"):
            pin(pid, cores()[1])

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(STOP_SECS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the loop has ended:\n{self._log.read_text()}")
        return line


@contextlib.contextmanager
def loops(kinds: Sequence[str], *, folder: Path, environment: Mapping[str, str]) -> Iterator[LoopProcess]:
    running = LoopProcess(kinds, folder=folder / "loops", environment=environment)
    try:
        yield running
    finally:
        running.end()


def by_turns(running: LoopProcess, *, rounds: int, steps: int) -> list[dict[str, Cost]]:
    """The cost of each kind in every round; the order changes from round to round."""
    kinds = running.kinds
    return [
        {kind: running.ask("run", kind, steps) for kind in kinds[number % len(kinds) :] + kinds[: number % len(kinds)]}
        for number in range(rounds)
    ]


def ratio(costs: Sequence[Mapping[str, Cost]], of: str, to: str = "plain") -> dict[str, Any]:
    """Ratios of the pairs: median with its 95 % interval by bootstrap, and the spread of the single pairs.

    `wall` is by the clock, `thread` the processor's time in the training thread. `total` is 1 and what all threads of
    the process take more than with `to`, to the bare training thread: what watching costs the process per step. On a
    machine that does other work at the same time the latter two are to be trusted.
    """
    result: dict[str, Any] = {
        "rounds": len(costs),
        f"{to}_ms": round(statistics.median(cost[to]["wall_ms"] for cost in costs), 3),
        f"{of}_ms": round(statistics.median(cost[of]["wall_ms"] for cost in costs), 3),
    }
    pairs = [(cost[of], cost[to]) for cost in costs]
    found = {
        "wall": [a["wall_ms"] / b["wall_ms"] for a, b in pairs],
        "thread": [a["thread_ms"] / b["thread_ms"] for a, b in pairs],
        "total": [1 + (a["process_ms"] - b["process_ms"]) / b["thread_ms"] for a, b in pairs],
    }
    return result | {what: spread(values) for what, values in found.items()}


def machine() -> dict[str, Any]:
    return {
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}",
        "torch": torch.__version__,
        "load_average": round(os.getloadavg()[0], 2),
    }
