"""The long form of the matrix: every fault on every process, in an order drawn from a seed. `make faults` runs it.

    python -m tests.faults.matrix [--seed N] [--only kill:ledger …] [--json PATH]

A line per cell; the status is 0 when everything held. The seed draws the order and what clients do, and is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import secrets
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from tests.faults.cells import FAULTS, Report, run_cell
from tests.support.faulty import VICTIMS, FaultyStudio, faulty_studio

# How long each fault stays.
SECS = {"stop": 30.0, "half-open": 12.0, "disk-full": 8.0, "clock-jump": 8.0}
DEFAULT_SECS = 5.0
# Its clock cannot be moved: see `FaultyStudio`.
LEFT_OUT = {("nats", "clock-jump")}


def cells() -> list[tuple[str, str]]:
    return [(victim, fault) for fault in FAULTS for victim in VICTIMS if (victim, fault) not in LEFT_OUT]


def _run(studio: FaultyStudio, victim: str, fault: str, seed: int) -> tuple[Report, str]:
    secs = SECS.get(fault, DEFAULT_SECS)
    try:
        return asyncio.run(run_cell(studio, victim, fault, secs=secs, seed=seed)), ""
    except Exception as error:
        studio.clear()
        studio.revive()
        return Report(victim, fault), f"{type(error).__name__}: {error}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**32))
    parser.add_argument("--only", nargs="*", help="cells as fault:process")
    parser.add_argument("--secs", type=float, default=float("inf"), help="begin no cell after so long")
    parser.add_argument("--json", type=Path, help="where to write what came of each cell")
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    draw = random.Random(given.seed)
    chosen = cells()
    if given.only:
        chosen = [(victim, fault) for victim, fault in chosen if f"{fault}:{victim}" in given.only]
    draw.shuffle(chosen)
    results = []
    with tempfile.TemporaryDirectory() as folder, faulty_studio(Path(folder), with_clocks=True) as studio:
        end = time.monotonic() + given.secs
        for victim, fault in chosen:
            began = time.monotonic()
            if began > end:
                break
            report, wrong = _run(studio, victim, fault, draw.randrange(2**32))
            activity, secs = max(report.recovery_secs.items(), key=lambda item: item[1], default=("", 0.0))
            took = time.monotonic() - began
            print(
                f"{'WRONG' if wrong else 'holds'}  {fault:10} {victim:8} recovered in {secs:5.1f} s ({activity}), "
                f"{report.edits} edits, {report.reads} reads, {took:.0f} s  {wrong[:1000]}",
                flush=True,
            )
            results.append({**asdict(report), "wrong": wrong})
        if any(result["wrong"] for result in results):
            print(studio.logs())
    if given.json:
        header = {"seed": given.seed, "load_average": os.getloadavg()[0], "cpus": os.cpu_count()}
        given.json.write_text(json.dumps({**header, "cells": results}, indent=1, ensure_ascii=False) + "\n")
    failed = [result for result in results if result["wrong"]]
    print(f"{len(results) - len(failed)} of {len(results)} cells hold")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
