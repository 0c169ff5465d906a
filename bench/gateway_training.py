"""What a hundred viewers cost a training step when the services have another core.

Run: python bench/gateway_training.py   writes gateway_training.json beside itself.

The watched loop on one core; bus, store, ledger, gateway and the process of the viewers on the other.
Blocks of steps without and with viewers alternate in order; a block begins when every viewer has had its first message.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from bench.training.paired import Cost, LoopProcess, loops  # noqa: E402
from bench.training.services import Services, services, viewers  # noqa: E402
from tests.support.gateway_bench import machine  # noqa: E402

VIEWERS = 100


def _block(running: LoopProcess, parts: Services, *, watched_by: int, steps: int) -> Cost:
    with ExitStack() as stack:
        if watched_by:
            stack.enter_context(viewers(watched_by, parts, images=0))
        running.ask("run", "watched", steps // 10)
        cost: Cost = running.ask("run", "watched", steps)
        return cost


def measure(*, pairs: int, steps: int) -> dict[str, Any]:
    """Costs of a step without and with viewers, and the ratio of each pair."""
    alone: list[Cost] = []
    watched: list[Cost] = []
    with (
        tempfile.TemporaryDirectory() as name,
        services(Path(name)) as parts,
        loops(["watched"], folder=Path(name), environment=parts.environment) as running,
    ):
        running.ask("run", "watched", steps)
        for number in range(pairs):
            for count in (0, VIEWERS) if number % 2 == 0 else (VIEWERS, 0):
                cost = _block(running, parts, watched_by=count, steps=steps)
                (watched if count else alone).append(cost)
    return {
        "viewers": VIEWERS,
        "pairs": pairs,
        "steps_per_block": steps,
        "alone_ms": round(float(np.median([cost["wall_ms"] for cost in alone])), 3),
        "watched_ms": round(float(np.median([cost["wall_ms"] for cost in watched])), 3),
        "wall_ratio": _ratios([w["wall_ms"] / a["wall_ms"] for a, w in zip(alone, watched, strict=True)]),
        # On a machine that does other work at the same time this is the one to trust.
        "cpu_ratio": _ratios([w["thread_ms"] / a["thread_ms"] for a, w in zip(alone, watched, strict=True)]),
    }


def _ratios(values: list[float]) -> dict[str, float]:
    return {"median": round(float(np.median(values)), 4), "min": round(min(values), 4), "max": round(max(values), 4)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--steps", type=int, default=200)
    given = parser.parse_args()
    result = measure(pairs=given.pairs, steps=given.steps) | {"machine": machine()}
    text = json.dumps(result, indent=2) + "\n"
    Path(__file__).with_suffix(".json").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
