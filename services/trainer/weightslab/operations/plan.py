"""What an operation would change: for each axis that is touched, where its new positions come from. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from weightslab_common.errors import FailedPrecondition

from weightslab.operations.analysis import Binding, Discovery, Key
from weightslab.operations.labels import LabelArray
from weightslab.operations.layers import Part

# The source of a position that is new.
NEW = -1


@dataclass(frozen=True, slots=True)
class Change:
    """An axis of a tensor as it will be: `sources` int64, the old position of each new one, or NEW."""

    binding: Binding
    sources: NDArray[np.int64]
    labels: LabelArray


Plan = dict[Key, Change]


def neurons_of(found: Discovery, path: str, parts: Sequence[Part]) -> LabelArray:
    """The units of the neurons of a layer. Raises FailedPrecondition when forward does not come by it."""
    bindings = [found.bindings.get((id(part.tensor), part.dim)) for part in parts]
    if not bindings or bindings[0] is None:
        raise FailedPrecondition(f"layer {path} takes no part in the forward of the model as it was called last")
    return found.labels.find(bindings[0].labels)


def plan_prune(found: Discovery, path: str, neurons: LabelArray, chosen: Sequence[int]) -> Plan:
    """Remove the chosen neurons, and what depends on them."""
    units = np.unique(neurons[list(chosen)])
    _require_free(found, path, units)
    plan: Plan = {}
    for key, binding in found.bindings.items():
        kept = np.flatnonzero(~np.isin(found.labels.find(binding.labels), units))
        if len(kept) == len(binding.labels):
            continue
        if not len(kept):
            raise FailedPrecondition(f"{path}: no neuron would remain in {binding.path}; at least one must")
        plan[key] = Change(binding, kept, binding.labels[kept])
    return plan


def plan_add(found: Discovery, path: str, neurons: LabelArray, count: int) -> Plan:
    """Add neurons behind the last one of the layer, wherever that one is read or written."""
    model = neurons[-1]
    _require_free(found, path, np.array([model]))
    added = found.labels.fresh(count)
    plan: Plan = {}
    for key, binding in found.bindings.items():
        places = np.flatnonzero(found.labels.find(binding.labels) == model)
        if not len(places):
            continue
        # A flattened channel is a run of positions, and a channel that is read twice has two runs.
        runs = np.split(places, np.flatnonzero(np.diff(places) > 1) + 1)
        after = np.concatenate([np.full(count * len(run), run[-1] + 1) for run in runs])
        new_labels = np.concatenate([np.repeat(added, len(run)) for run in runs])
        sources = np.insert(np.arange(len(binding.labels)), after, NEW)
        plan[key] = Change(binding, sources, np.insert(binding.labels, after, new_labels))
    return plan


def _require_free(found: Discovery, path: str, units: LabelArray) -> None:
    for unit in units.tolist():
        if reason := found.labels.reason(unit):
            raise FailedPrecondition(f"the number of neurons of layer {path} cannot change: {reason}")
