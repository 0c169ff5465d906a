"""Handwritten digits: 1,797 real scans that come with scikit-learn, some of them with a wrong label to be found.

Run it with `python -m weightslab.demo.digits`; it trains until it is stopped.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import weightslab as wl

SEED = 7
VALIDATION_COUNT = 360
SWAPPED_SHARE = 0.05


def split_indices() -> tuple[np.ndarray, np.ndarray]:
    """Which scans are for training, and which for validation."""
    order = np.random.default_rng(SEED).permutation(1797)
    return np.sort(order[VALIDATION_COUNT:]), np.sort(order[:VALIDATION_COUNT])


def swapped_uids() -> list[str]:
    """The uids of the training scans whose label is wrong on purpose, sorted by number."""
    count = len(split_indices()[0])
    picked = np.random.default_rng(SEED + 1).choice(count, size=round(count * SWAPPED_SHARE), replace=False)
    return [str(position) for position in np.sort(picked)]


def load_datasets() -> tuple[TensorDataset, TensorDataset]:
    """Training and validation: 8×8 grey scans from 0 to 1, and the digit each shows."""
    scans, labels = load_digits(return_X_y=True)
    images = torch.tensor(scans / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)
    targets = torch.tensor(labels, dtype=torch.int64)
    train, validation = (torch.from_numpy(indices) for indices in split_indices())
    train_targets = targets[train]
    swapped = torch.tensor([int(uid) for uid in swapped_uids()])
    shift = np.random.default_rng(SEED + 2).integers(1, 10, size=len(swapped))
    train_targets[swapped] = (train_targets[swapped] + torch.from_numpy(shift)) % 10
    return TensorDataset(images[train], train_targets), TensorDataset(images[validation], targets[validation])


class SmallCnn(nn.Sequential):
    """Two convolutions and a linear layer."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(32 * 4 * 4, 10),
        )


def accuracy(correct: int, count: int) -> float:
    return correct / max(count, 1)


def main() -> None:
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    train_set, val_set = load_datasets()
    names = [str(digit) for digit in range(10)]

    # The lines that WeightsLab needs: watch what you have, then serve.
    parameters: dict[str, Any] = {"optimizer": {"lr": 0.02}, "batch_size": 64, "delay": 0.03}
    wl.watch_hyperparameters(parameters)
    train_loader = wl.watch_loader(
        DataLoader(train_set, batch_size=parameters["batch_size"], shuffle=True), split="train", class_names=names
    )
    val_loader = wl.watch_loader(DataLoader(val_set, batch_size=120), split="val", class_names=names)
    model = wl.watch_model(SmallCnn())
    # The decay keeps the model from learning the wrong labels by heart, so that their loss stays high.
    sgd = torch.optim.SGD(model.parameters(), lr=parameters["optimizer"]["lr"], momentum=0.9, weight_decay=0.01)
    optimizer = wl.watch_optimizer(sgd)
    criterion = wl.watch_loss(nn.CrossEntropyLoss())
    val_accuracy = wl.watch_metric(accuracy, name="val/accuracy")
    wl.serve(checkpoint_every=50)

    # The loop is as it always was.
    for _ in itertools.count():
        model.train()
        for images, targets in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(images), targets)
            loss.backward()
            optimizer.step()
            time.sleep(parameters["delay"])  # So that a laptop stays usable.

        model.eval()
        correct = count = 0
        with torch.no_grad():
            for images, targets in val_loader:
                logits = model(images)
                criterion(logits, targets)
                correct += int((logits.argmax(1) == targets).sum())
                count += len(targets)
        val_accuracy(correct, count)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
