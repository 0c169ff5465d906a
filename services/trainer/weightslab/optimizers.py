"""Watched optimizers: each step is counted, and none is taken in audit mode."""

from __future__ import annotations

import functools
import types
from typing import TYPE_CHECKING, Any, TypeGuard

import torch

from weightslab.companions import follow_companions
from weightslab.records import AUDIT_MODE

if TYPE_CHECKING:
    from weightslab.run import Run

# What schedulers keep in the parameter groups, and come back to.
_LEARNING_RATES_OF_SCHEDULERS = ("initial_lr", "max_lr", "min_lr")


def watch(optimizer: torch.optim.Optimizer, *, run: Run, counts: bool) -> None:
    """Put our step in front of the optimizer's own. Steps of the run are those of the optimizer that `counts`."""
    follow_companions()
    own_step = optimizer.step

    @functools.wraps(own_step)
    def step(self: torch.optim.Optimizer, *args: Any, **kwargs: Any) -> Any:
        if counts:
            run.before_step()
        if run.mode == AUDIT_MODE:
            closure = args[0] if args else kwargs.get("closure")
            # Schedulers warn when they are stepped before the optimizer was.
            self._opt_called = True  # type: ignore[attr-defined]
            if counts:
                run.gate.count_step()
            return closure() if closure is not None else None
        result = own_step(*args, **kwargs)
        if counts:
            run.count_step()
        return result

    # A bound method, as schedulers that are made later expect to find.
    optimizer.step = types.MethodType(step, optimizer)  # type: ignore[method-assign]


def options(optimizer: torch.optim.Optimizer) -> set[str]:
    """Names of numeric options that can be set."""
    return {
        name
        for group in optimizer.param_groups
        for name, value in group.items()
        if name != "params" and (type(value) in (int, float) or _is_number(value))
    }


def set_option(optimizer: torch.optim.Optimizer, name: str, *, value: float, before: float) -> None:
    """Set an option in every parameter group; groups that differ from `before` keep their ratio to it."""
    names = (name, *_LEARNING_RATES_OF_SCHEDULERS) if name == "lr" else (name,)
    for group in optimizer.param_groups:
        for key in names:
            present = group.get(key)
            if _is_number(present):
                # In place: a compiled optimizer reads this very tensor.
                present.fill_(moved(present.item(), value=value, before=before))
            elif present is not None:
                group[key] = moved(present, value=value, before=before)


def _is_number(value: Any) -> TypeGuard[torch.Tensor]:
    return isinstance(value, torch.Tensor) and value.numel() == 1


def moved(present: float, *, value: float, before: float) -> float:
    """`value`, in the ratio that `present` has to `before`."""
    ratio = present / before if before else 1.0
    return value * ratio if ratio != 1.0 else value
