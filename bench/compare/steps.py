"""What watching costs a step: plain and watched loop in alternating rounds, in one process. Prints one line of JSON.

python -m bench.compare.steps TOOL DATASET --folder DIR [--model linear]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

import psutil
import torch

from bench.compare.watching import TOOLS
from bench.compare.work import MODELS, Loop, dataset
from bench.training.spread import spread


def _milliseconds(loop: Loop, steps: int) -> tuple[float, float]:
    """Per step: by the clock, and of the processor in the thread that trains."""
    clock, processor = time.perf_counter(), time.thread_time()
    loop.run(steps)
    return (time.perf_counter() - clock) / steps * 1e3, (time.thread_time() - processor) / steps * 1e3


def _folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def measure(tool: str, name: str, folder: Path, *, model: str, rounds: int, steps: int) -> dict[str, object]:
    torch.set_num_threads(1)
    data = dataset(name)
    base = Loop(data, model)
    watched = TOOLS[tool](Loop(data, model), folder)
    base.run(steps)
    watched.run(steps)
    bytes_before, memory_before = _folder_bytes(folder), psutil.Process().memory_info().rss
    pairs = []
    for number in range(rounds):
        order = (base, watched) if number % 2 == 0 else (watched, base)
        took = {id(loop): _milliseconds(loop, steps) for loop in order}
        pairs.append((took[id(base)], took[id(watched)]))
    return {
        "tool": tool,
        "dataset": name,
        "model": model,
        "rounds": rounds,
        "steps_per_round": steps,
        "plain_ms": round(statistics.median(clock for (clock, _), _ in pairs), 3),
        "watched_ms": round(statistics.median(clock for _, (clock, _) in pairs), 3),
        "ratio": spread(after / before for (before, _), (after, _) in pairs),
        "added_us": spread(((after - before) * 1e3 for (before, _), (after, _) in pairs), digits=1),
        "added_thread_us": spread(((after - before) * 1e3 for (_, before), (_, after) in pairs), digits=1),
        "disk_bytes_per_step": round((_folder_bytes(folder) - bytes_before) / (rounds * steps), 1),
        "memory_bytes_per_step": round((psutil.Process().memory_info().rss - memory_before) / (rounds * steps), 1),
        "torch": torch.__version__,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tool", choices=TOOLS)
    parser.add_argument("dataset", choices=["digits", "synthetic"])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--model", choices=MODELS, default="cnn")
    parser.add_argument("--rounds", type=int, default=24)
    parser.add_argument("--steps", type=int, default=25)
    given = parser.parse_args()
    result = measure(given.tool, given.dataset, given.folder, model=given.model, rounds=given.rounds, steps=given.steps)
    sys.stdout.flush()
    print("\n" + json.dumps(result), flush=True)
    # Some tools leave threads behind that never end.
    os._exit(0)


if __name__ == "__main__":
    main()
