"""What a framework logs, as points of curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from weightslab import api
from weightslab.records import Record, copied_event, hand_off


def add_points(metrics: Mapping[str, Any], *, prefixes: Mapping[str, str], default: str) -> None:
    """One point per number, at the step of the run.

    A name with a slash stays as it is. `prefixes` says which beginning of a name stands for which split, as `eval_`
    for `val`; a name with none of them becomes `<default>/<name>`. What is no number is left out.
    """
    run = api._run()
    for name, value in metrics.items():
        ready = None
        if isinstance(value, torch.Tensor) and value.numel() == 1:
            value, ready = hand_off(value), copied_event(value)
        elif isinstance(value, bool) or not isinstance(value, int | float):
            continue
        signal = _signal(name, prefixes=prefixes, default=default)
        run.ring.add(Record(run.moment(), signal, value, None, {}, derive=None, ready=ready))


def _signal(name: str, *, prefixes: Mapping[str, str], default: str) -> str:
    if "/" in name:
        return name
    for prefix, split in prefixes.items():
        if name.startswith(prefix):
            return f"{split}/{name.removeprefix(prefix)}"
    return f"{default}/{name}"
