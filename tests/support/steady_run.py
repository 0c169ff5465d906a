"""The demo's training run, which also tells its steps through a file: what a test can see when no service answers."""

from __future__ import annotations

import itertools
import mmap
import struct
import sys
import time
from pathlib import Path

import torch
import weightslab as wl
from torch import nn
from torch.utils.data import DataLoader
from weightslab.demo.digits import SEED, SmallCnn, load_datasets

_COUNT = struct.Struct("<q")
_PAUSE_SECS = 0.03


def read_step(path: str) -> int:
    """Batches that the run at `path` has trained since it began."""
    return int(_COUNT.unpack(Path(path).read_bytes())[0])


def main(path: str) -> None:
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    train_set, _ = load_datasets()
    names = [str(digit) for digit in range(10)]
    loader = wl.watch_loader(DataLoader(train_set, batch_size=64, shuffle=True), split="train", class_names=names)
    model = wl.watch_model(SmallCnn())
    optimizer = wl.watch_optimizer(torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=0.01))
    criterion = wl.watch_loss(nn.CrossEntropyLoss())
    # Made before the run is served, and written by memory, so that no full disk can keep it from telling.
    Path(path).write_bytes(_COUNT.pack(0))
    with open(path, "r+b") as file:
        told = mmap.mmap(file.fileno(), _COUNT.size)
    wl.serve(checkpoint_every=100, keep_checkpoints=5)
    count = 0
    for _ in itertools.count():
        model.train()
        for images, targets in loader:
            optimizer.zero_grad()
            criterion(model(images), targets).backward()
            optimizer.step()
            count += 1
            told[:] = _COUNT.pack(count)
            time.sleep(_PAUSE_SECS)


if __name__ == "__main__":
    main(sys.argv[1])
