"""Schedulers and gradient scalers are part of what is saved, whenever and however they are made."""

from __future__ import annotations

import copy
import gc
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler as schedules
from weightslab.branches import BranchTree
from weightslab.checkpointing import Checkpointing
from weightslab.checkpoints import CheckpointStore
from weightslab.companions import find_companions
from weightslab.retention import Retention
from weightslab.run import Run

from tests.unit.trainer.runs import Training

# A process of its own: in this one schedulers have been noted for long.
BEFORE = """
import torch
from torch.optim import lr_scheduler as schedules
optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
before = schedules.ReduceLROnPlateau(optimizer)
scaler = torch.amp.GradScaler("cpu")
import weightslab as wl
from weightslab.api import _run
from weightslab.companions import find_companions
wl.watch_optimizer(optimizer)
after = schedules.StepLR(optimizer, step_size=1)
found = find_companions(_run())
assert [id(each) for each in found.schedulers] == [id(before), id(after)], found
assert [id(each) for each in found.scalers] == [id(scaler)], found
"""


class Own(schedules.LRScheduler):
    """A user's, with an `__init__` that does not call the one of its base."""

    def __init__(self, optimizer: torch.optim.Optimizer, *, rate: float) -> None:
        self.optimizer = optimizer
        self.rate = rate


def test_those_made_before_the_optimizer_is_watched_and_those_made_after_are_found() -> None:
    subprocess.run([sys.executable, "-c", BEFORE], check=True)


def test_every_kind_is_found_in_the_order_in_which_it_was_made_until_the_script_drops_it() -> None:
    training = Training(Run()).watch()
    other = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    of_another_optimizer = schedules.StepLR(other, step_size=1)
    own = [Own(training.optimizer, rate=rate) for rate in (3.0, 1.0, 2.0)]
    plateau = schedules.ReduceLROnPlateau(training.optimizer)
    twin = copy.copy(own[0])
    found = find_companions(training.run).schedulers
    assert [id(each) for each in found] == [id(each) for each in (*own, twin, plateau, training.scheduler)]
    assert of_another_optimizer not in found
    dropped = weakref.ref(own.pop())
    del found
    gc.collect()
    assert dropped() is None
    assert len(find_companions(training.run).schedulers) == 5


def test_saving_does_not_look_through_the_objects_of_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = Training(Run()).watch()
    checkpoints = Checkpointing(
        training.run,
        store=CheckpointStore(tmp_path),
        branches=BranchTree(tmp_path),
        every=0,
        retention=Retention(keep_last=3),
        restore=False,
    )
    monkeypatch.setattr(gc, "get_objects", _never)
    saved: dict[str, Any] = checkpoints.store.read(checkpoints.save().result(60))
    checkpoints.close()
    assert [state["step_size"] for state in saved["schedulers"]] == [5]


def _never(*_: object) -> list[object]:
    raise AssertionError("all objects were looked through")
