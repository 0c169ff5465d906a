"""A run that a tool watches and serves, until it is killed; counts its steps in a file.

python -m bench.compare.live TOOL DATASET --folder DIR
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from bench.compare.watching import TOOLS
from bench.compare.work import Loop, dataset

COUNTER = "steps.i64"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tool", choices=TOOLS)
    parser.add_argument("dataset", choices=["digits", "synthetic"])
    parser.add_argument("--folder", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.folder.mkdir(parents=True, exist_ok=True)
    counter = np.memmap(given.folder / COUNTER, dtype=np.int64, mode="w+", shape=(1,))
    loop = TOOLS[given.tool](Loop(dataset(given.dataset)), given.folder / "run")
    while True:
        loop.run(1)
        counter[0] += 1


if __name__ == "__main__":
    main()
