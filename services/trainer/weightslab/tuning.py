"""What a changed hyperparameter does to the run. On the training thread, at the gate."""

from __future__ import annotations

import functools
import logging

import torch

from weightslab import optimizers
from weightslab.companions import Companions, find_companions
from weightslab.hyperparameters import Value, optimizer_option
from weightslab.loader import WatchedLoader
from weightslab.run import Run

log = logging.getLogger(__name__)


def apply(run: Run, name: str, value: Value) -> None:
    """Make `value` hold: an option of the optimizers from the next step on, a batch size from the next epoch on."""
    before = run.hyperparameters.get(name).applied
    run.hyperparameters.apply(name, value)
    for optimizer in run.optimizers.values():
        option = optimizer_option(name, lambda optimizer=optimizer: optimizers.options(optimizer))  # type: ignore[misc]
        if option is not None:
            assert isinstance(value, int | float)
            assert isinstance(before, int | float)
            _set_option(optimizer, option, value=value, before=before, companions=find_companions(run))
    loader = _loader_of(run, name)
    if name.rpartition(".")[2] == "batch_size" and loader is not None and loader.batch_size is not None:
        assert isinstance(value, int)
        loader.batch_size = value
    if run.peers is not None:
        run.peers.tell({"hyperparameter": name, "value": value})
    run.changed()


def _loader_of(run: Run, name: str) -> WatchedLoader | None:
    """The loader that `data.<loader>.batch_size` names, else the one that feeds the optimizer."""
    owner = name.split(".")[-2:-1]
    named = next((loader for loader in run.loaders if [loader.name] == owner), None)
    return named or run.loader_for_training()


def follow_files(run: Run) -> None:
    """Ask for what changed hyperparameter files say; a fault in one is told by the status. On the publisher thread."""
    for file in run.hyperparameter_files:
        change = file.changed(run.hyperparameters)
        if change is None:
            continue
        run.file_fault = change.fault
        if change.fault:
            log.warning("%s", change.fault)
        for name, value in change.values.items():
            run.hyperparameters.request_value(name, value)
            run.gate.submit(functools.partial(apply, run, name, value))
        run.changed()


def keep_current(run: Run, *, saved: dict[str, Value], companions: Companions) -> None:
    """After a checkpoint was loaded: hyperparameters that were changed since it was saved keep their present value."""
    for state in run.hyperparameters.states():
        before = saved.get(state.name, state.applied)
        if before == state.applied or isinstance(before, str | bool) or isinstance(state.applied, str | bool):
            continue
        for optimizer in run.optimizers.values():
            option = optimizer_option(state.name, lambda optimizer=optimizer: optimizers.options(optimizer))  # type: ignore[misc]
            if option is not None:
                _set_option(optimizer, option, value=state.applied, before=before, companions=companions)


def _set_option(
    optimizer: torch.optim.Optimizer, name: str, *, value: float, before: float, companions: Companions
) -> None:
    """Set an option, and for a learning rate move its schedules along: many of them compute it anew at each step."""
    optimizers.set_option(optimizer, name, value=value, before=before)
    for scheduler in companions.schedulers if name == "lr" else ():
        if scheduler.optimizer is optimizer:
            for rates in ("base_lrs", "max_lrs"):
                present = getattr(scheduler, rates, ())
                if present:
                    setattr(scheduler, rates, [optimizers.moved(rate, value=value, before=before) for rate in present])
