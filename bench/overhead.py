"""What watching costs the training: the same steps plain and watched, by turns in one process, and in several.

    python bench/overhead.py [step] [hand_off] [viewers] [outage] [--outage-secs 60]

A small CNN on 28x28 images, batch 64, one torch thread; the training process on one core and the services on another
where there are two. Writes `overhead.json` beside itself; rows that are not asked for stay as they are.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from bench.training.paired import LoopProcess, by_turns, loops, machine, ratio
from bench.training.services import Services, services, viewers

RESULT = Path(__file__).with_suffix(".json")
VIEWERS, IMAGES_PER_PAGE = 16, 24
HAND_OFF_CALLS = 500
IDLE_SECS = 5.0
LAUNCHES = 6


@contextlib.contextmanager
def warmed(parts: Services, name: str, given: argparse.Namespace, *, turned: bool = False) -> Iterator[LoopProcess]:
    """A process of its own with both loops, after a few steps; `turned`: the watched one was made first."""
    kinds = ["watched", "plain"] if turned else ["plain", "watched"]
    with loops(kinds, folder=parts.folder / name, environment=parts.environment) as running:
        by_turns(running, rounds=2, steps=given.steps)
        yield running


def step(parts: Services, given: argparse.Namespace) -> dict[str, Any]:
    """Watched against plain; and what the publisher thread takes, per second, when there is nothing to publish.

    Two equal loops in one process differ by a few per cent by where their weights lie, so there are several processes.
    """
    costs, medians, idle = [], [], []
    for launch in range(LAUNCHES):
        with warmed(parts, f"step-{launch}", given, turned=launch % 2 == 1) as running:
            own = by_turns(running, rounds=given.rounds // 2, steps=given.steps)
            idle.append(running.ask("idle", IDLE_SECS) / IDLE_SECS)
        costs += own
        medians.append(ratio(own, of="watched")["wall"]["median"])
    found = ratio(costs, of="watched")
    return {**found, "wall_of_each_process": medians, "background_ms_per_sec": round(statistics.median(idle), 2)}


def hand_off(parts: Services, given: argparse.Namespace) -> dict[str, Any]:
    """Time on the training thread per batch of 256 samples: a cross-entropy that gives six signals, and four given.

    The ratio is to bare copies of the four in the same process, right after: the least that any hand-off must do.
    """
    with warmed(parts, "hand-off", given) as running:
        found: dict[str, dict[str, float]] = running.ask("hand_off", HAND_OFF_CALLS)
    bare = found["bare_copies"]["thread_p50_us"]
    ratios = {name: round(each["thread_p50_us"] / bare, 2) for name, each in found.items() if "four" in name}
    added = found["watched_loss"]["thread_p50_us"] - found["plain_loss"]["thread_p50_us"]
    return {**found, "watched_loss_adds_us": round(added, 1), "to_bare_copies": ratios}


def with_viewers(parts: Services, given: argparse.Namespace) -> dict[str, Any]:
    """Watched while 16 viewers each turn a page of images a second, against watched while they are held."""
    costs = []
    with (
        warmed(parts, "viewers", given) as running,
        viewers(VIEWERS, parts, images=IMAGES_PER_PAGE) as process,
    ):
        # The worker of images is no part of the training.
        running.pin_children()
        for number in range(given.rounds):
            pair: dict[str, Any] = {}
            for kind in ("viewers", "none")[:: 1 if number % 2 else -1]:
                process.send_signal(signal.SIGCONT if kind == "viewers" else signal.SIGSTOP)
                time.sleep(0.5)
                pair[kind] = running.ask("run", "watched", given.steps)
            costs.append(pair)
        process.send_signal(signal.SIGCONT)
    return ratio(costs, of="viewers", to="none")


def outage(parts: Services, given: argparse.Namespace) -> dict[str, Any]:
    """Watched against plain while bus and store are dead, and right before."""
    with warmed(parts, "outage", given) as running:
        before = ratio(by_turns(running, rounds=given.rounds, steps=given.steps), of="watched")
        for name in ("nats", "store"):
            parts.kill(name)
        begun, costs = time.monotonic(), []
        while time.monotonic() - begun < given.outage_secs:
            costs += by_turns(running, rounds=2, steps=given.steps)
        dead_secs = time.monotonic() - begun
        for name in ("nats", "store"):
            parts.start(name)
    during = ratio(costs, of="watched")
    return {
        "dead_secs": round(dead_secs, 1),
        "during": during,
        "before": before,
        "during_to_before": {
            what: round(during[what]["median"] / before[what]["median"], 4) for what in ("wall", "thread", "total")
        },
    }


ROWS: dict[str, Callable[[Services, argparse.Namespace], dict[str, Any]]] = {
    "step": step,
    "hand_off": hand_off,
    "viewers": with_viewers,
    "outage": outage,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", default=list(ROWS), help=f"some of {', '.join(ROWS)}; all when none")
    parser.add_argument("--rounds", type=int, default=24)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--outage-secs", type=float, default=60.0)
    given = parser.parse_args()
    result: dict[str, Any] = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    with tempfile.TemporaryDirectory() as name, services(Path(name)) as parts:
        for row in given.rows:
            result[row] = {**machine(), "steps_per_round": given.steps, **ROWS[row](parts, given)}
            print(f"{row}: {json.dumps(result[row], indent=2)}", flush=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
