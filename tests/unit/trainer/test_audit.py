"""Audit mode changes nothing: the training after it is, to the last bit, the training without it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader
from weightslab import optimizers, tuning
from weightslab.audit import Audit
from weightslab.branches import BranchTree
from weightslab.checkpointing import Checkpointing
from weightslab.checkpoints import CheckpointStore
from weightslab.handlers import Handlers
from weightslab.records import AUDIT_MODE, TRAIN_MODE
from weightslab.retention import Retention
from weightslab.run import Run

from tests.unit.trainer.runs import Numbered, Training, same


def _audited(training: Training, steps: int) -> Audit:
    audit = Audit(training.run)
    audit.set_mode(AUDIT_MODE)
    training.train_on(steps)
    audit.set_mode(TRAIN_MODE)
    return audit


def _numpy_stream() -> list[int]:
    state: Any = np.random.get_state(legacy=True)
    numbers: list[int] = state[1].tolist()
    return numbers


def _gradients(training: Training) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in training.model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("steps", [1, 3, 20])
def test_training_after_an_audit_is_bit_identical_to_training_without(steps: int) -> None:
    plain = Training(Run()).watch().train(12)
    plain.train_on(9)
    training = Training(Run()).watch().train(12)
    _audited(training, steps)
    training.train_on(9)
    assert same(training.weights(), plain.weights())
    assert training.seen[:12] + training.seen[12 + steps :] == plain.seen
    assert training.losses[12 + steps :] == plain.losses[12:]
    assert training.scheduler.state_dict() == plain.scheduler.state_dict()
    assert training.run.step == plain.run.step == 21


def test_the_certificate_shows_equal_hashes_and_the_step_stands() -> None:
    training = Training(Run()).watch().train(3)
    weights = training.weights()
    audit = Audit(training.run)
    begun = audit.set_mode(AUDIT_MODE)
    assert begun is not None
    assert (begun.hash_after, len(begun.hash_before)) == ("", 64)
    training.train_on(4)
    assert training.run.step == 3
    ended = audit.set_mode(TRAIN_MODE)
    assert ended is not None
    assert ended.hash_after == begun.hash_before
    assert ended.ended_unix_ms >= ended.started_unix_ms > 0
    assert same(training.weights(), weights)


def test_the_hash_of_another_state_is_another() -> None:
    training = Training(Run()).watch().train(3)
    audit = Audit(training.run)
    first = audit.set_mode(AUDIT_MODE)
    audit.set_mode(TRAIN_MODE)
    training.train_on(1)
    second = audit.set_mode(AUDIT_MODE)
    assert first is not None
    assert second is not None
    assert first.hash_before != second.hash_before


def test_values_are_marked_as_audit() -> None:
    training = Training(Run()).watch().train(2)
    _audited(training, 3)
    training.train_on(1)
    moments = [record.moment for record in training.run.ring.take()]
    assert [moment.mode for moment in moments] == [TRAIN_MODE] * 2 + [AUDIT_MODE] * 3 + [TRAIN_MODE]
    assert [moment.step for moment in moments] == [0, 1, 2, 2, 2, 2]


def test_streams_of_python_and_numpy_and_a_loaders_own_generator_are_restored() -> None:
    run = Run()
    training = Training(run)
    training.loader = DataLoader(Numbered(22), batch_size=4, shuffle=True, generator=torch.Generator().manual_seed(1))
    training.watch().train(2)
    generator = training.loader.generator
    audit = Audit(run)
    audit.set_mode(AUDIT_MODE)
    before = random.getstate(), _numpy_stream(), generator.get_state()
    training.train_on(20)
    random.random()
    np.random.rand()
    audit.set_mode(TRAIN_MODE)
    assert random.getstate() == before[0]
    assert _numpy_stream() == before[1]
    assert torch.equal(generator.get_state(), before[2])


def test_gradients_that_are_being_accumulated_survive() -> None:
    training = Training(Run()).watch().train(2)
    before = {
        name: parameter.grad.clone()
        for name, parameter in training.model.named_parameters()
        if parameter.grad is not None
    }
    _audited(training, 2)
    after = {name: parameter.grad for name, parameter in training.model.named_parameters()}
    assert same(before, after)  # type: ignore[arg-type]


def test_changes_that_go_around_the_optimizer_are_undone() -> None:
    training = Training(Run()).watch().train(2)
    weights = training.weights()
    audit = Audit(training.run)
    audit.set_mode(AUDIT_MODE)
    with torch.no_grad():
        for parameter in training.model.parameters():
            parameter.add_(1.0)
    audit.set_mode(TRAIN_MODE)
    assert same(training.weights(), weights)


def test_the_loss_of_a_closure_is_returned_without_a_step() -> None:
    run = Run()
    parameter = nn.Parameter(torch.ones(2))
    optimizer: Any = torch.optim.LBFGS([parameter])
    optimizers.watch(optimizer, run=run, counts=True)
    run.mode = AUDIT_MODE
    loss = optimizer.step(lambda: (parameter**2).sum())
    assert loss.item() == 2
    assert torch.equal(parameter, torch.ones(2))


def test_a_gradient_scaler_is_part_of_the_state() -> None:
    training = Training(Run()).watch()
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0, growth_interval=1)
    training.train(1)
    audit = Audit(training.run)
    audit.set_mode(AUDIT_MODE)
    loss = training.model(torch.randn(4, 4)).sum()
    scaler.scale(loss).backward()
    scaler.step(training.optimizer)
    scaler.update()
    assert scaler.get_scale() == 8
    audit.set_mode(TRAIN_MODE)
    assert scaler.get_scale() == 4


def test_a_learning_rate_that_is_set_during_an_audit_holds_after_it() -> None:
    training = Training(Run())
    training.watch()
    training.run.hyperparameters.watch({"lr": 0.05})
    training.train(2)
    audit = Audit(training.run)
    audit.set_mode(AUDIT_MODE)
    tuning.apply(training.run, "lr", 0.5)
    training.train_on(1)
    ended = audit.set_mode(TRAIN_MODE)
    assert ended is not None
    assert ended.hash_after == ended.hash_before
    assert training.optimizer.param_groups[0]["lr"] == 0.5


def test_an_optimizer_that_keeps_more_precise_weights_beside_the_model_is_audited() -> None:
    class Precise(torch.optim.Optimizer):
        def __init__(self, parameters: Any) -> None:
            super().__init__(parameters, {"lr": 0.001})

        @torch.no_grad()
        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            for parameter in self.param_groups[0]["params"]:
                precise = self.state[parameter].setdefault("precise", parameter.float())
                precise -= 0.001 * parameter.grad.float()
                parameter.copy_(precise)

    training = Training(Run())
    training.model = nn.Sequential(nn.Linear(4, 3)).bfloat16()
    training.optimizer = Precise(training.model.parameters())
    training.scheduler = torch.optim.lr_scheduler.StepLR(training.optimizer, step_size=5)
    training.watch()
    criterion = training.criterion
    training.criterion = lambda outputs, targets: criterion(outputs.float(), targets)
    model = training.model
    training.model = lambda features: model(features.bfloat16())  # type: ignore[assignment]
    training.train(3)
    _audited(training, 2)
    certificate = training.run.certificate
    assert certificate is not None
    assert certificate.hash_after == certificate.hash_before


def test_an_audit_that_cannot_be_ended_in_order_keeps_no_run_from_stopping(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_: dict[str, Any]) -> None:
        raise ValueError("not any more")

    training = Training(Run()).watch().train(2)
    handlers = Handlers(training.run, checkpoints=_checkpoints(training, tmp_path), timeout_secs=1.0)
    handlers._audit.set_mode(AUDIT_MODE)
    training.scheduler.load_state_dict = refuse
    handlers.leave_audit()
    assert "the audit could not be ended in order: StepLR does not take the saved state: not any more" in caplog.text


def _checkpoints(training: Training, folder: Path) -> Checkpointing:
    return Checkpointing(
        training.run,
        store=CheckpointStore(folder),
        branches=BranchTree(folder),
        every=0,
        retention=Retention(keep_last=1, keep_every=0),
        restore=False,
    )
