"""Memory that the SDK adds to a training process, how it grows with the values that are logged, and its import time.

    python bench/footprint.py [--millions 8]

Writes `footprint.json` beside itself.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from bench.training.paired import LoopProcess, loops, machine
from bench.training.services import services

RESULT = Path(__file__).with_suffix(".json")
STEPS = 40
IMPORTS = {
    # What the script's first line costs, and what the first use adds to torch, which the script needs anyway.
    "import weightslab": ("", "import weightslab"),
    "first use, torch imported": ("import torch, torch.utils.data, numpy", "import weightslab; weightslab.watch_model"),
}


def memory(*, millions: int) -> dict[str, Any]:
    resident, growth = {}, {}
    with tempfile.TemporaryDirectory() as name, services(Path(name)) as parts:
        for kind in ("plain", "watched"):
            with loops([kind], folder=Path(name) / kind, environment=parts.environment) as running:
                running.ask("run", kind, STEPS)
                resident[kind] = running.ask("memory")
                if kind == "watched":
                    growth = _growth(running, millions)
    return {
        "plain_mb": round(resident["plain"], 1),
        "watched_mb": round(resident["watched"], 1),
        "added_mb": round(resident["watched"] - resident["plain"], 1),
        **growth,
    }


def _growth(loop: LoopProcess, millions: int) -> dict[str, Any]:
    """Resident memory after each million values; the first two fill buffers that are then used again."""
    levels = [loop.ask("values", 1_000_000) for _ in range(2 + millions)]
    return {
        "after_each_million_mb": [round(level, 1) for level in levels],
        "growth_mb_per_million": round((levels[-1] - levels[1]) / millions, 3),
    }


def import_times(*, repeats: int) -> dict[str, Any]:
    return {name: _import_time(before, what, repeats) for name, (before, what) in IMPORTS.items()}


def _import_time(before: str, what: str, repeats: int) -> dict[str, float]:
    program = (
        f"{before}\nimport time\nwall, processor = time.perf_counter(), time.process_time()\n{what}\n"
        "print(time.perf_counter() - wall, time.process_time() - processor)"
    )
    times = []
    for _ in range(repeats):
        ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        times.append([float(number) * 1e3 for number in ran.stdout.split()])
    wall, processor = (sorted(each) for each in zip(*times, strict=True))
    return {
        "wall_ms": round(statistics.median(wall), 1),
        "processor_ms": round(statistics.median(processor), 1),
        "processor_min_ms": round(processor[0], 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millions", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=9)
    given = parser.parse_args()
    result = {
        **machine(),
        "import": import_times(repeats=given.repeats),
        "memory": memory(millions=given.millions),
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
