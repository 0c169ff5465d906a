"""Watched optimizers step, are counted, and take options."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import nn
from weightslab import optimizers, tuning
from weightslab.run import Run

from tests.unit.trainer.test_checkpointing import SCHEDULERS


def _optimizer(run: Run, **options: Any) -> torch.optim.Optimizer:
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], **{"lr": 0.1, **options})
    run.optimizers["optimizer"] = optimizer
    return optimizer


@pytest.mark.parametrize("scheduler_first", [True, False])
def test_schedulers_work_whether_they_are_made_before_or_after(scheduler_first: bool) -> None:
    run = Run()
    optimizer = _optimizer(run)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if not scheduler_first:
            optimizers.watch(optimizer, run=run, counts=True)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
        if scheduler_first:
            optimizers.watch(optimizer, run=run, counts=True)
        optimizer.step()
        scheduler.step()
    assert run.step == 1
    assert optimizer.param_groups[0]["lr"] == 0.05


def test_only_the_optimizer_that_counts_moves_the_step() -> None:
    run = Run()
    first, second = _optimizer(run), _optimizer(run)
    optimizers.watch(first, run=run, counts=True)
    optimizers.watch(second, run=run, counts=False)
    second.step()
    assert run.step == 0
    first.step()
    assert run.step == 1


def test_a_step_that_a_scaler_skips_is_not_counted() -> None:
    run = Run()
    parameter = nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    optimizers.watch(optimizer, run=run, counts=True)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    for gradient in (float("inf"), 1.0):
        optimizer.zero_grad()
        loss: Any = scaler.scale((parameter * gradient).sum())
        loss.backward()
        scaler.step(optimizer)
        scaler.update()
    assert run.step == 1


def test_groups_keep_their_ratio_to_the_learning_rate() -> None:
    run = Run()
    optimizer = _optimizer(run)
    optimizer.add_param_group({"params": [nn.Parameter(torch.ones(1))], "lr": 0.01})
    run.hyperparameters.watch({"lr": 0.1})
    tuning.apply(run, "lr", 0.2)
    assert [group["lr"] for group in optimizer.param_groups] == [0.2, pytest.approx(0.02)]


def test_options_under_optimizer_are_set_and_others_are_not() -> None:
    run = Run()
    optimizer = _optimizer(run, momentum=0.9)
    run.hyperparameters.watch({"optimizer": {"momentum": 0.9}, "momentum": 0.3})
    tuning.apply(run, "momentum", 0.1)
    assert optimizer.param_groups[0]["momentum"] == 0.9
    tuning.apply(run, "optimizer.momentum", 0.5)
    assert optimizer.param_groups[0]["momentum"] == 0.5


def test_a_learning_rate_that_is_a_tensor_is_set_in_place() -> None:
    run = Run()
    rate = torch.tensor(0.1)
    optimizer = torch.optim.Adam([nn.Parameter(torch.ones(1))], lr=rate)
    run.optimizers["optimizer"] = optimizer
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)
    run.hyperparameters.watch({"lr": 0.1})
    tuning.apply(run, "lr", 0.2)
    assert optimizer.param_groups[0]["lr"] is rate
    assert rate.item() == pytest.approx(0.2)
    optimizer.step()
    scheduler.step()
    assert rate.item() == pytest.approx(0.1)


@pytest.mark.parametrize("kind", SCHEDULERS)
@pytest.mark.filterwarnings("ignore:The epoch parameter in `scheduler.step")
def test_a_learning_rate_that_is_set_moves_its_schedule_along(kind: str) -> None:
    def rates(*, set_at: int | None) -> list[float]:
        run = Run()
        optimizer = _optimizer(run, momentum=0.9)
        scheduler = SCHEDULERS[kind](optimizer)
        run.hyperparameters.watch({"lr": 0.1})
        found: list[float] = []
        for step in range(8):
            if step == set_at:
                tuning.apply(run, "lr", 0.2)
            found.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        return found

    plain = rates(set_at=None)
    assert rates(set_at=3) == pytest.approx([*plain[:3], *(2 * rate for rate in plain[3:])])


def test_a_learning_rate_that_was_set_to_zero_comes_back_with_its_schedule() -> None:
    run = Run()
    optimizer = _optimizer(run)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)
    run.hyperparameters.watch({"lr": 0.1})
    for value in (0.0, 0.4):
        tuning.apply(run, "lr", value)
        optimizer.step()
        scheduler.step()
    assert optimizer.param_groups[0]["lr"] == 0.1
