"""Schedulers and gradient scalers: nobody watches them, but they belong to the state of the training.

torch keeps no list of them. So, once something is watched, each is noted where it comes into being: in `__new__`, which
every kind inherits, while `ReduceLROnPlateau`, `SequentialLR` and schedulers of users have an `__init__` of their own.
Those made before are looked for once. They are held weakly: what the script has dropped is gone here, too.
"""

from __future__ import annotations

import functools
import gc
import itertools
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.optim.lr_scheduler import LRScheduler

if TYPE_CHECKING:
    from weightslab.run import Run

_KINDS: tuple[type, ...] = (LRScheduler, torch.amp.GradScaler)

# In the order in which they were made.
_made: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Companions:
    """What belongs to a run."""

    schedulers: tuple[Any, ...]
    scalers: tuple[Any, ...]


@functools.cache
def follow_companions() -> None:
    """Note every scheduler and scaler of the process from now on, and those that there are."""
    for kind in _KINDS:
        kind.__new__ = _noting(kind)  # type: ignore[method-assign]
    for candidate in gc.get_objects():
        # `isinstance` would ask foreign objects for their class, which some answer with a surprise.
        if issubclass(type(candidate), _KINDS):
            _made[next(_numbers)] = candidate


def find_companions(run: Run) -> Companions:
    """All live schedulers of the watched optimizers and all gradient scalers, in an order that a restart repeats."""
    follow_companions()
    watched = {id(optimizer): number for number, optimizer in enumerate(run.optimizers.values())}
    alive = [each for _, each in sorted(_made.items())]
    schedulers = [
        each for each in alive if isinstance(each, LRScheduler) and id(getattr(each, "optimizer", None)) in watched
    ]
    schedulers.sort(key=lambda scheduler: (watched[id(scheduler.optimizer)], type(scheduler).__qualname__))
    return Companions(tuple(schedulers), tuple(each for each in alive if isinstance(each, torch.amp.GradScaler)))


def _noting(kind: type) -> Any:
    def make(cls: type, *_: object, **__: object) -> Any:
        made = super(kind, cls).__new__(cls)  # type: ignore[arg-type]
        _made[next(_numbers)] = made
        return made

    return staticmethod(make)
