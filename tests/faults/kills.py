"""SIGKILL at random moments, again and again: `python -m tests.faults.kills [--seed N] [--kills N] [--json PATH]`.

Each time an edit is on its way, and after a random delay one process is killed, or several one shortly after the other;
they are started again at once. After every round the history of all clients, points and checkpoints are checked.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import secrets
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.cells import RECOVERY_SECS, Report, go_through
from tests.faults.workload import Workload
from tests.support.faulty import MEDIA, FaultyStudio, faulty_studio
from tests.support.main_job import until

# How often each process is drawn: those that hold data most of all.
WEIGHTS = {"store": 34, "nats": 24, "ledger": 20, "gateway": 12, "ui": 4, "trainer": 3, MEDIA: 3}
KILLS_PER_ROUND = 40
# An edit takes some milliseconds from its request to its answer.
MAX_DELAY_SECS = 0.03
# One kill in three is followed by another before anything has come back.
AGAIN_SHARE = 0.35


@dataclass(slots=True)
class Tally:
    """`recovery_secs`: from a kill to the next acknowledged edit, by the process that was killed alone."""

    kills: dict[str, int] = field(default_factory=lambda: dict.fromkeys(WEIGHTS, 0))
    recovery_secs: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in WEIGHTS})
    edits: int = 0
    reads: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        return sum(self.kills.values())


async def _kill_some(studio: FaultyStudio, load: Workload, draw: random.Random, tally: Tally) -> None:
    """Kill one process or several in the middle of an edit, and wait until edits are acknowledged again."""
    sent = len(load.history.edits)
    await until(lambda: _later(len(load.history.edits) > sent), what="an edit is sent", timeout_secs=RECOVERY_SECS)
    await asyncio.sleep(draw.uniform(0, MAX_DELAY_SECS))
    killed: list[str] = []
    while not killed or draw.random() < AGAIN_SHARE:
        (victim,) = draw.choices(list(WEIGHTS), list(WEIGHTS.values()))
        await asyncio.to_thread(studio.kill, victim)
        tally.kills[victim] += 1
        killed.append(victim)
        await asyncio.to_thread(studio.revive)
    began, acknowledged = time.monotonic(), load.done["edit"]
    await until(
        lambda: _later(load.done["edit"] > acknowledged + 1), what=f"edits after {killed}", timeout_secs=RECOVERY_SECS
    )
    if len(killed) == 1:
        tally.recovery_secs[victim].append(time.monotonic() - began)


async def _later(condition: bool) -> bool:
    return condition


def run_round(studio: FaultyStudio, draw: random.Random, tally: Tally, *, kills: int) -> None:
    """Kill `kills` times, and check. What is wrong is noted."""
    goal = tally.count + kills

    async def kill(load: Workload) -> None:
        while tally.count < goal:
            await _kill_some(studio, load, draw, tally)

    try:
        report = asyncio.run(go_through(studio, Report("several", "kill"), seed=draw.randrange(2**32), trouble=kill))
    except Exception as error:
        tally.wrong.append(f"{type(error).__name__}: {error}"[:2000])
        studio.revive()
        return
    tally.edits += report.edits
    tally.reads += report.reads


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**32))
    parser.add_argument("--kills", type=int, default=2000)
    parser.add_argument("--secs", type=float, default=float("inf"), help="begin no round after so long")
    parser.add_argument("--json", type=Path, help="where to write what came of it")
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    draw, tally, began = random.Random(given.seed), Tally(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder, faulty_studio(Path(folder)) as studio:
        while tally.count < given.kills and time.monotonic() - began < given.secs:
            run_round(studio, draw, tally, kills=min(KILLS_PER_ROUND, given.kills - tally.count))
            took = time.monotonic() - began
            print(f"{tally.count} kills, {tally.edits} edits, {took:.0f} s, wrong: {tally.wrong[-1:]}", flush=True)
        if tally.wrong:
            print(studio.logs())
    summary = {
        "seed": given.seed,
        "kills": tally.kills,
        "edits": tally.edits,
        "reads": tally.reads,
        "secs": round(time.monotonic() - began),
        "load_average": os.getloadavg()[0],
        "cpus": os.cpu_count(),
        "recovery_secs": {
            name: {"median": round(statistics.median(times), 2), "max": round(max(times), 2), "count": len(times)}
            for name, times in tally.recovery_secs.items()
            if times
        },
        "wrong": tally.wrong,
    }
    text = json.dumps(summary, indent=1, ensure_ascii=False)
    print(text)
    if given.json:
        given.json.write_text(text + "\n")
    return bool(tally.wrong)


if __name__ == "__main__":
    sys.exit(main())
