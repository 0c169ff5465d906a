"""What a hundred viewers cost a training step when the services have another core.

Run: python bench/gateway_training.py   writes gateway_training.json beside itself.

The watched loop of `overhead.py` on one core; bus, store, ledger, gateway and the process of the viewers on the other.
Blocks of steps without and with viewers alternate in order; a block begins when every viewer has had its first message.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
import weightslab as wl

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from bench.overhead import EXPERIMENT, Cost, Loop, services, viewers  # noqa: E402
from tests.support.gateway_bench import machine  # noqa: E402

VIEWERS = 100


def _block(loop: Loop, *, watched_by: int, port: int, core: int | None, steps: int) -> Cost:
    with ExitStack() as stack:
        if watched_by:
            stack.enter_context(viewers(watched_by, port, core))
        loop.run(steps // 10)
        return loop.run(steps)


def measure(*, pairs: int, steps: int) -> dict[str, Any]:
    """Costs of a step without and with viewers, and the ratio of each pair."""
    cores = sorted(os.sched_getaffinity(0))
    training_core, service_core = (cores[0], cores[1]) if len(cores) > 1 else (None, None)
    torch.set_num_threads(1)
    alone: list[Cost] = []
    watched: list[Cost] = []
    with tempfile.TemporaryDirectory() as folder, services(Path(folder), service_core) as port:
        loop = Loop(watched=True)
        wl.serve(serving_cli=False, experiment=EXPERIMENT)
        if training_core is not None:
            os.sched_setaffinity(0, {training_core})
        loop.run(steps)
        for number in range(pairs):
            for count in (0, VIEWERS) if number % 2 == 0 else (VIEWERS, 0):
                cost = _block(loop, watched_by=count, port=port, core=service_core, steps=steps)
                (watched if count else alone).append(cost)
        wl.stop()
    return {
        "viewers": VIEWERS,
        "pairs": pairs,
        "steps_per_block": steps,
        "alone_ms": round(float(np.median([cost.wall_ms for cost in alone])), 3),
        "watched_ms": round(float(np.median([cost.wall_ms for cost in watched])), 3),
        "wall_ratio": _ratios([w.wall_ms / a.wall_ms for a, w in zip(alone, watched, strict=True)]),
        # On a machine that does other work at the same time this is the one to trust.
        "cpu_ratio": _ratios([w.cpu_ms / a.cpu_ms for a, w in zip(alone, watched, strict=True)]),
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
