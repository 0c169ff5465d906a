"""A user's script in small: watched by the public functions, served, looping on a thread of the test."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import weightslab as wl
from torch import nn
from torch.utils.data import DataLoader

from tests.unit.trainer.runs import CLASS_COUNT, Background, Numbered

TRAIN_COUNT = 40
VAL_COUNT = 12


class Script:
    """Trains until it is told to end, and validates after each epoch."""

    def __init__(
        self,
        folder: Path,
        *,
        nats_url: str,
        experiment: str,
        monkeypatch: Any,
        step_secs: float = 0.002,
        workers: int = 0,
        norms: Sequence[str] = (),
        **options: Any,
    ) -> None:
        monkeypatch.setenv("WL_NATS_URL", nats_url)
        monkeypatch.setenv("WL_DATA_DIR", str(folder))
        self.parameters: dict[str, Any] = {"optimizer": {"lr": 0.05}, "batch_size": 8}
        self._step_secs = step_secs
        self._ending = threading.Event()
        self._holding = threading.Event()
        self._holding.set()
        self._inside = threading.Event()
        self.model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, CLASS_COUNT))
        wl.watch_hyperparameters(self.parameters)
        self.train_loader = wl.watch_loader(
            DataLoader(Numbered(TRAIN_COUNT), batch_size=8, shuffle=True, num_workers=workers),
            class_names=["a", "b", "c"],
        )
        self.val_loader = wl.watch_loader(DataLoader(Numbered(VAL_COUNT), batch_size=6), split="val")
        wl.watch_model(self.model, norms=norms)
        self.optimizer = wl.watch_optimizer(torch.optim.SGD(self.model.parameters(), lr=0.05))
        self.criterion = wl.watch_loss(nn.CrossEntropyLoss())
        wl.serve(serving_cli=False, experiment=experiment, **options)
        self.folder = folder
        self.steps: list[int] = []
        self._loop: Background | None = None

    def start(self) -> Script:
        self._loop = Background(self._train)
        return self

    def hold(self) -> None:
        """Keep the loop inside a step, away from its gate; returns when it is there."""
        self._inside.clear()
        self._holding.clear()
        assert self._inside.wait(60), "the loop has not come to its next step"

    def release(self) -> None:
        self._holding.set()

    def end(self) -> None:
        """End the loop and what was served."""
        self._ending.set()
        self._holding.set()
        wl.stop()
        if self._loop:
            self._loop.join()

    def discarded(self, split: str = "train") -> list[int]:
        """Positions that the sampler leaves out."""
        loader = self.train_loader if split == "train" else self.val_loader
        assert loader.split is not None
        positions: list[int] = loader.split.discarded.nonzero()[0].tolist()
        return positions

    def weights(self) -> list[torch.Tensor]:
        return [parameter.detach().clone() for parameter in self.model.parameters()]

    def _train(self) -> None:
        while not self._ending.is_set():
            for features, targets in self.train_loader:
                if not self._holding.is_set():
                    self._inside.set()
                    self._holding.wait(60)
                self.optimizer.zero_grad()
                self.criterion(self.model(features), targets).backward()
                self.optimizer.step()
                self.steps.append(len(features))
                # Paces the loop; nothing waits for it.
                time.sleep(self._step_secs)
                if self._ending.is_set():
                    return
            with torch.no_grad():
                for features, targets in self.val_loader:
                    self.criterion(self.model(features), targets)
