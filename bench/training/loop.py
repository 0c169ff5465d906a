"""The same training loop twice in one process of its own: plain and watched.

    python -m bench.training.loop plain watched --folder DIR

Reads one request per line, a JSON list of a name and its arguments, and answers each by a line of JSON.
All in one process, because two processes that do the same differ by up to 10 % by their layout in memory alone.
"""

from __future__ import annotations

import argparse
import functools
import gc
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

EXPERIMENT = "overhead"
SAMPLE_COUNT = 8192
BATCH_SIZE = 64
HAND_OFF_SAMPLES = 256
# Longer than the publisher waits between two of its turns.
SETTLE_SECS = 0.35


class Loop:
    """A small CNN on 28x28 images with SGD."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        torch.manual_seed(1)
        images = torch.randn(SAMPLE_COUNT, 1, 28, 28)
        self.dataset = TensorDataset(images, torch.randint(10, (SAMPLE_COUNT,)))
        self.loader: Any = DataLoader(self.dataset, batch_size=BATCH_SIZE, shuffle=True)
        self.model = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(32 * 7 * 7, 10),
        )
        self.optimizer: torch.optim.Optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01)
        self.criterion: Any = nn.CrossEntropyLoss()
        self.end: Callable[[], object] = lambda: None
        self._steps = self._train()

    def run(self, steps: int) -> None:
        for _ in range(steps):
            next(self._steps)

    def _train(self) -> Iterator[None]:
        while True:
            for images, targets in self.loader:
                self.optimizer.zero_grad()
                self.criterion(self.model(images), targets).backward()
                self.optimizer.step()
                yield


class Loops:
    """What can be asked for."""

    def __init__(self, kinds: list[str], folder: Path) -> None:
        self.loops = {kind: KINDS[kind](folder) for kind in kinds}

    def run(self, kind: str, steps: int) -> dict[str, float]:
        """Milliseconds per step: by the clock, of the processor in this thread, and in all threads of this process.

        The last holds what other threads do after the steps, too.
        """
        wall, thread, process = time.perf_counter(), time.thread_time(), time.process_time()
        self.loops[kind].run(steps)
        wall, thread = time.perf_counter() - wall, time.thread_time() - thread
        time.sleep(SETTLE_SECS)
        process = time.process_time() - process
        return {
            "wall_ms": wall / steps * 1e3,
            "thread_ms": thread / steps * 1e3,
            "process_ms": process / steps * 1e3,
        }

    def idle(self, secs: float) -> float:
        """Milliseconds of processor that all threads take in `secs` without a step."""
        process = time.process_time()
        time.sleep(secs)
        return (time.process_time() - process) * 1e3

    def end(self) -> None:
        for loop in self.loops.values():
            loop.end()

    def memory(self) -> float:
        """Resident bytes of this process, in MB."""
        gc.collect()
        return float(psutil.Process().memory_info().rss) / 1e6

    def children(self) -> list[int]:
        """Processes that this one has started."""
        return [child.pid for child in psutil.Process().children(recursive=True)]

    def hand_off(self, calls: int) -> dict[str, dict[str, float]]:
        """Microseconds that telling of a batch takes on this thread, after work that leaves caches cold."""
        import weightslab as wl

        logits, targets = torch.randn(HAND_OFF_SAMPLES, 10), torch.randint(10, (HAND_OFF_SAMPLES,))
        loader = wl.watch_loader(
            DataLoader(TensorDataset(torch.zeros(HAND_OFF_SAMPLES, 1)), batch_size=HAND_OFF_SAMPLES),
            split="handoff",
            train=False,
        )
        criterion = self.loops["watched"].criterion
        plain, work = nn.CrossEntropyLoss(), torch.randn(384, 384)
        values = {name: torch.rand(HAND_OFF_SAMPLES) for name in ("a", "b", "c", "d")}
        numbers = list(range(HAND_OFF_SAMPLES))
        named: dict[str, list[Any]] = {"numbers": numbers, "texts": list(map(str, numbers))}
        pieces = {
            "plain_loss": lambda: plain(logits, targets),
            "watched_loss": lambda: criterion(logits, targets),
            # The least that any hand-off of values that the loop may change must do.
            "bare_copies": lambda: [value.detach().numpy().copy() for value in values.values()],
        } | {
            f"four_signals_by_{kind}": functools.partial(wl.log_sample_signals, uids, split="handoff", **values)
            for kind, uids in named.items()
        }
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in pieces}
        for _ in loader:
            for _ in range(calls):
                for name, piece in pieces.items():
                    torch.mm(work, work)
                    times[name].append(_timed(piece))
        return {name: _percentiles(each) for name, each in times.items()}

    def values(self, count: int) -> float:
        """Log so many values of samples, as fast as the publisher sends them, and return the resident MB after it."""
        import weightslab as wl

        uids = list(range(4096))
        value = torch.rand(len(uids))
        for number in range(max(1, count // len(uids))):
            wl.log_sample_signals(uids, split="train", extra=value)
            if number % 8 == 0:
                time.sleep(0.05)
        # The publisher's next turn.
        time.sleep(1.0)
        return self.memory()


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    """Microseconds by the clock, and of the processor in this thread."""
    wall, thread = time.perf_counter(), time.thread_time()
    work()
    return (time.perf_counter() - wall) * 1e6, (time.thread_time() - thread) * 1e6


def _percentiles(times: list[tuple[float, float]]) -> dict[str, float]:
    wall, thread = (sorted(each) for each in zip(*times, strict=True))
    last = len(wall) - 1
    return {
        "p50_us": round(wall[last // 2], 1),
        "p99_us": round(wall[round(last * 0.99)], 1),
        "thread_p50_us": round(thread[last // 2], 1),
        "thread_p99_us": round(thread[round(last * 0.99)], 1),
    }


def plain(folder: Path) -> Loop:
    return Loop()


def watched(folder: Path) -> Loop:
    import weightslab as wl

    loop = Loop()
    loop.loader = wl.watch_loader(loop.loader)
    wl.watch_model(loop.model)
    wl.watch_optimizer(loop.optimizer)
    loop.criterion = wl.watch_loss(loop.criterion)
    wl.serve(serving_cli=False, experiment=EXPERIMENT, data_dir=folder)
    loop.end = wl.stop
    return loop


KINDS = {"plain": plain, "watched": watched}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="+", choices=KINDS)
    parser.add_argument("--folder", type=Path, required=True)
    arguments = parser.parse_args()
    answers = os.fdopen(os.dup(1), "w")
    # What libraries print must not stand between the answers.
    os.dup2(2, 1)
    loops = Loops(arguments.kinds, arguments.folder)
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        name, *given = json.loads(line)
        print(json.dumps(getattr(loops, name)(*given)), file=answers, flush=True)
    loops.end()


if __name__ == "__main__":
    main()
