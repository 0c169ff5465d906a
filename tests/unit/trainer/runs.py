"""A small training for tests: data whose samples tell their own index, and a loop that keeps what it saw."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from weightslab import losses, optimizers
from weightslab.loader import WatchedLoader
from weightslab.run import Run
from weightslab.split import Catalog, Split

CLASS_COUNT = 3


class Numbered(Dataset[tuple[torch.Tensor, int]]):
    """Sample i is (features, class), and its first feature is i."""

    def __init__(self, count: int) -> None:
        generator = torch.Generator().manual_seed(5)
        self._features = torch.randn(count, 4, generator=generator)
        self._features[:, 0] = torch.arange(count)
        self.targets = [index % CLASS_COUNT for index in range(count)]

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self._features[index], self.targets[index]


def split_of(dataset: Dataset[Any], name: str = "train") -> Split:
    uids = tuple(map(str, range(len(dataset))))  # type: ignore[arg-type]
    return Split(Catalog(name, uids, (), (), "", 0, f"registration of {name}"), dataset)


def watched(run: Run, loader: DataLoader[Any], *, name: str = "train", train: bool = True) -> WatchedLoader:
    split = run.splits.get(name) or run.add_split(split_of(loader.dataset, name))
    watched_loader = WatchedLoader(loader, run=run, split=split, name=name, train=train)
    run.loaders.append(watched_loader)
    return watched_loader


def indices(batch: Any) -> list[int]:
    """Which samples of `Numbered` are in a batch."""
    return [int(value) for value in batch[0][:, 0]]


def epoch(loader: Any) -> list[list[int]]:
    return [indices(batch) for batch in loader]


class Training:
    """A model with dropout, batch norm, momentum and a schedule: everything that has a state."""

    def __init__(self, run: Run, *, count: int = 22, batch_size: int = 4, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.run = run
        self.dataset = Numbered(count)
        self.loader: Any = DataLoader(self.dataset, batch_size=batch_size, shuffle=True)
        self.model = nn.Sequential(
            nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, CLASS_COUNT)
        )
        self.optimizer: torch.optim.Optimizer = torch.optim.SGD(self.model.parameters(), lr=0.05, momentum=0.9)
        self.scheduler: Any = torch.optim.lr_scheduler.StepLR(self.optimizer, step_size=5, gamma=0.5)
        self.criterion: Any = nn.CrossEntropyLoss()
        self.seen: list[list[int]] = []
        self.losses: list[float] = []

    def watch(self) -> Training:
        run = self.run
        run.models["model"] = self.model
        run.optimizers["optimizer"] = self.optimizer
        optimizers.watch(self.optimizer, run=run, counts=True)
        self.loader = watched(run, self.loader)
        self.criterion = losses.WatchedLoss(self.criterion, run=run, name="loss", per_sample=None)
        return self

    def steps(self) -> Generator[int, None, None]:
        """Train, one step per item, for ever."""
        done = 0
        while True:
            for features, targets in self.loader:
                self.optimizer.zero_grad()
                loss = self.criterion(self.model(features), targets)
                loss.backward()
                self.optimizer.step()
                self.scheduler.step()
                self.seen.append(indices((features,)))
                self.losses.append(loss.item())
                done += 1
                yield done

    def train(self, count: int) -> Training:
        """Take so many steps and stop before the next batch is drawn."""
        steps = self.steps()
        for _ in range(count):
            next(steps)
        # Kept: a closed generator would end the epoch.
        self.unfinished = steps
        return self

    def train_on(self, count: int) -> None:
        for _ in range(count):
            next(self.unfinished)

    def end(self) -> None:
        """End the loop, and with it the workers of its loader: left to a garbage collection they end slowly."""
        self.unfinished.close()
        self.loader.close()

    def weights(self) -> dict[str, torch.Tensor]:
        return {name: tensor.clone() for name, tensor in self.model.state_dict().items()}


class Background:
    """Runs a loop on a thread and re-raises what it raises."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def join(self) -> None:
        self._thread.join(60)
        assert not self._thread.is_alive(), "the loop has not ended"
        if self._error:
            raise self._error

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self._error = error


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    """Bit-identical."""
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
