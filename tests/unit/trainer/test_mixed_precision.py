"""A loop as people write it: mixed precision, accumulation, clipping, evaluation, a schedule that follows a metric."""

from __future__ import annotations

import gc
import random
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader
from weightslab import tree
from weightslab.audit import Audit
from weightslab.branches import BranchTree
from weightslab.checkpointing import Checkpointing
from weightslab.checkpoints import CheckpointStore
from weightslab.records import AUDIT_MODE, TRAIN_MODE
from weightslab.retention import Retention
from weightslab.run import Run

from tests.unit.trainer.runs import Numbered, Training, indices, watched

# Batches of one step.
ACCUMULATED = 3
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "momentum": lambda parameters: torch.optim.SGD(parameters, lr=0.01, momentum=0.9, nesterov=True),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=0.01, amsgrad=True),
    "adamw fused": lambda parameters: torch.optim.AdamW(parameters, lr=0.01, fused=True),
    "rate as a tensor": lambda parameters: torch.optim.Adam(parameters, lr=torch.tensor(0.01)),
    "rmsprop": lambda parameters: torch.optim.RMSprop(parameters, lr=0.01, momentum=0.9, centered=True),
    "adafactor": torch.optim.Adafactor,
    "rprop": torch.optim.Rprop,
    "averaged": torch.optim.ASGD,
    "closure": lambda parameters: torch.optim.LBFGS(parameters, lr=0.1, max_iter=3),
}


class Mixed(Training):
    """`train` counts batches here."""

    def __init__(self, run: Run, kind: str, *, seed: int = 0) -> None:
        super().__init__(run, seed=seed)
        random.seed(seed)
        self.optimizer = OPTIMIZERS[kind](self.model.parameters())
        self.scheduler = lr_scheduler.ReduceLROnPlateau(self.optimizer, patience=0)
        self.scaler = torch.amp.GradScaler("cpu", init_scale=4.0, growth_interval=2)
        self.val: Any = DataLoader(Numbered(10), batch_size=5)
        self.batch_count = 0

    def watch(self) -> Mixed:
        super().watch()
        self.val = watched(self.run, self.val, name="val", train=False)
        return self

    def steps(self) -> Generator[int, None, None]:
        while True:
            for features, targets in self.loader:
                noisy = features + torch.rand(1) * random.random()
                self.losses.append(self._learn(noisy, targets))
                self.seen.append(indices((features,)))
                yield len(self.losses)
            self.model.eval()
            with torch.inference_mode():
                total = sum(self._loss(*batch).item() for batch in self.val)
            self.model.train()
            self.scheduler.step(total)

    def state(self) -> str:
        """Of everything, to the last bit."""
        kept = (self.optimizer, self.scheduler, self.scaler)
        return tree.digest([self.weights(), *(each.state_dict() for each in kept)])

    def _loss(self, features: torch.Tensor, targets: torch.Tensor) -> Any:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.criterion(self.model(features), targets)

    def _learn(self, features: torch.Tensor, targets: torch.Tensor) -> float:
        def closure() -> Any:
            self.optimizer.zero_grad()
            loss = self._loss(features, targets)
            loss.backward()
            return loss

        if isinstance(self.optimizer, torch.optim.LBFGS):
            return self.optimizer.step(closure).item()  # type: ignore[no-any-return, no-untyped-call]
        loss = self._loss(features, targets)
        self.scaler.scale(loss / ACCUMULATED).backward()
        self.batch_count += 1
        if self.batch_count % ACCUMULATED == 0:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.optimizer.zero_grad()
        return loss.item()  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_an_audit_in_the_middle_of_an_accumulation_leaves_it_as_it_was(kind: str) -> None:
    plain = Mixed(Run(), kind).watch()
    plain.train(8).train_on(12)
    audited = Mixed(Run(), kind).watch()
    audited.train(8)
    audit = Audit(audited.run)
    audit.set_mode(AUDIT_MODE)
    count = audited.batch_count
    audited.train_on(7)
    # A variable of the loop is the loop's own.
    audited.batch_count = count
    certificate = audit.set_mode(TRAIN_MODE)
    audited.train_on(12)
    assert certificate is not None
    assert certificate.hash_after == certificate.hash_before
    assert audited.losses[:8] + audited.losses[15:] == plain.losses
    assert audited.state() == plain.state()


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_restart_goes_on_bit_identically(kind: str, tmp_path: Path) -> None:
    def finished(training: Mixed, count: int) -> tuple[list[float], str]:
        training.train(count)
        return training.losses, training.state()

    def served(*, seed: int) -> Mixed:
        # Each scaler of the process is part of the state, and a script has none of earlier trainings.
        gc.collect()
        training = Mixed(Run(), kind, seed=seed)
        training.checkpoints = Checkpointing(  # type: ignore[attr-defined]
            training.run,
            store=CheckpointStore(tmp_path),
            branches=BranchTree(tmp_path),
            every=0,
            retention=Retention(keep_last=1, keep_every=0),
            restore=True,
        )
        training.run.before_batch = training.checkpoints.before_batch  # type: ignore[attr-defined]
        return training.watch()

    losses, state = finished(Mixed(Run(), kind).watch(), 21)
    stopped = served(seed=0)
    stopped.train(9)
    stopped.checkpoints.save().result(10)  # type: ignore[attr-defined]
    stopped.checkpoints.close()  # type: ignore[attr-defined]
    del stopped
    rest, end = finished(served(seed=1), 12)
    assert rest == losses[9:]
    assert end == state
