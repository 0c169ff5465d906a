"""The work that every tool watches: a small CNN on 28×28 images, batch 64, one thread. Knows no tool."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

BATCH_SIZE = 64
SYNTHETIC_COUNT = 60_000


def dataset(name: str) -> TensorDataset:
    """`digits`: the 1,797 scans of scikit-learn, scaled to 28×28. `synthetic`: 60,000 images of noise with a class."""
    if name == "digits":
        from sklearn.datasets import load_digits

        scans, labels = load_digits(return_X_y=True)
        images = torch.tensor(scans / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)
        return TensorDataset(nn.functional.interpolate(images, size=28), torch.tensor(labels, dtype=torch.int64))
    generator = torch.Generator().manual_seed(5)
    targets = torch.randint(10, (SYNTHETIC_COUNT,), generator=generator)
    images = torch.rand(SYNTHETIC_COUNT, 1, 28, 28, generator=generator)
    images += targets[:, None, None, None] / 10
    return TensorDataset(images, targets)


def small_cnn() -> nn.Module:
    """About 20,000 weights."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 7 * 7, 10),
    )


def linear() -> nn.Module:
    """So quick that what a tool adds to a step is not lost in what the step itself varies by."""
    return nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 10))


MODELS = {"cnn": small_cnn, "linear": linear}


class Loop:
    """The plain loop, to be run some steps at a time. A tool changes the parts before `start`."""

    def __init__(self, data: Dataset[Any], model: str = "cnn") -> None:
        torch.manual_seed(1)
        self.data = data
        self.loader: Any = DataLoader(data, batch_size=BATCH_SIZE, shuffle=True)
        self.model: Any = MODELS[model]()
        self.optimizer: Any = torch.optim.SGD(self.model.parameters(), lr=0.01)
        self.criterion: Any = nn.CrossEntropyLoss()
        self.logged: Callable[[int, torch.Tensor], None] = lambda step, loss: None
        self._steps: Iterator[None] = self.train()

    def train(self) -> Iterator[None]:
        step = 0
        while True:
            for images, targets in self.loader:
                self.optimizer.zero_grad()
                loss = self.criterion(self.model(images), targets)
                loss.backward()
                self.optimizer.step()
                step += 1
                self.logged(step, loss)
                yield

    def run(self, steps: int) -> None:
        for _ in range(steps):
            next(self._steps)
