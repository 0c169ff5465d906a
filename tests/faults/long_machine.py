"""Long random runs of the whole system against its model: `python -m tests.faults.long_machine [--seed N]`."""

from __future__ import annotations

import argparse
import secrets
import tempfile
from pathlib import Path

from hypothesis import seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.faults.test_whole_system import SHORT
from tests.faults.whole_system import WholeSystem
from tests.support.faulty import faulty_studio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**32))
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--steps", type=int, default=60, help="at most, in each run")
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder, faulty_studio(Path(folder)) as studio:
        made = 0

        def machine() -> WholeSystem:
            nonlocal made
            made += 1
            return WholeSystem(studio, victims=("nats", "store", "ledger", "gateway", "ui"), max_restarts=3)

        seeded = seed(given.seed)(machine)
        long = settings(SHORT, max_examples=given.runs, stateful_step_count=given.steps, derandomize=False)
        run_state_machine_as_test(seeded, settings=long)  # type: ignore[arg-type]
    print(f"{made} runs did as the model")


if __name__ == "__main__":
    main()
