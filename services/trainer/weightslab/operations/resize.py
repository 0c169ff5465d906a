"""Gives tensors, gradients and optimizer state other sizes. All of it is made before any of it is put in place."""

from __future__ import annotations

import gc
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import nn
from weightslab_common.errors import FailedPrecondition

from weightslab.operations import layers
from weightslab.operations.layers import Role
from weightslab.operations.plan import NEW, Change, Plan

# Sums of squares and sizes of steps: a new neuron that began at zero would take steps many times too large.
_MAGNITUDES = {"exp_avg_sq", "max_exp_avg_sq", "square_avg", "sum", "exp_inf", "acc_delta", "step_size"}
_Swap = tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]


def optimizers_of(parameters: Iterable[torch.Tensor]) -> list[torch.optim.Optimizer]:
    """All live optimizers, watched or not, that move one of the parameters."""
    wanted = {id(parameter) for parameter in parameters}
    found: list[torch.optim.Optimizer] = []
    for candidate in gc.get_objects() if wanted else ():
        # `isinstance` would ask foreign objects for their class, which some answer with a surprise.
        if not issubclass(type(candidate), torch.optim.Optimizer):
            continue
        if any(id(parameter) in wanted for group in candidate.param_groups for parameter in group["params"]):
            found.append(candidate)
    return found


def apply(model: nn.Module, plan: Plan, *, generator: torch.Generator) -> None:
    """Change the model and every optimizer that moves its parameters. Raises before anything was changed."""
    by_tensor: dict[int, list[Change]] = {}
    for change in plan.values():
        by_tensor.setdefault(id(change.binding.part.tensor), []).append(change)
    swaps: list[_Swap] = []
    for changes in by_tensor.values():
        # What reads new neurons is set last, so that also new rows read them with zero.
        changes.sort(key=lambda change: change.binding.role is Role.IN)
        tensor = changes[0].binding.part.tensor
        gradient = None if tensor.grad is None else _zero_filled(tensor.grad, changes)
        swaps.append((tensor, _begun(model, tensor, changes, generator=generator), gradient))
    states = _resized_states(by_tensor)
    for tensor, values, gradient in swaps:
        put(tensor, values, gradient=gradient)
    for state, key, value in states:
        state[key] = value
    for layer in model.modules():
        layers.resize_attributes(layer)


def put(tensor: torch.Tensor, values: torch.Tensor, *, gradient: torch.Tensor | None) -> None:
    """Give a tensor other values of another shape; it stays the same object, which others refer to."""
    tensor.grad = None
    # A graph that is still alive has noted the old shape; another type makes autograd note it anew.
    other = torch.float64 if values.dtype is not torch.float64 else torch.float32
    tensor.data = values.to(other)
    tensor.data = values
    tensor.grad = gradient


def state_of_new(name: str, state: torch.Tensor, *, dim: int, count: int) -> torch.Tensor:
    """Optimizer state of new positions along an axis: magnitudes as the others have them, everything else zero."""
    shape = list(state.shape)
    shape[dim] = count
    if name not in _MAGNITUDES or not state.shape[dim]:
        return state.new_zeros(shape)
    return state.mean(dim=dim, keepdim=True).expand(shape)


def check_states(tensor: torch.Tensor, state: dict[str, Any], optimizer: torch.optim.Optimizer) -> None:
    """Raise FailedPrecondition when an optimizer keeps what cannot be told apart by neurons."""
    for name, value in state.items():
        plain = value is None or isinstance(value, bool | int | float | str)
        fitting = isinstance(value, torch.Tensor) and (value.shape == tensor.shape or value.numel() == 1)
        if not plain and not fitting:
            raise FailedPrecondition(
                f"the optimizer {type(optimizer).__name__} keeps {name!r}, which has no entry for each weight; "
                "neurons cannot be added, pruned or reset under it"
            )


def _resized_states(by_tensor: dict[int, list[Change]]) -> list[tuple[dict[str, Any], str, torch.Tensor]]:
    resized = []
    for optimizer in optimizers_of(changes[0].binding.part.tensor for changes in by_tensor.values()):
        for tensor, state in optimizer.state.items():
            changes = by_tensor.get(id(tensor))
            if changes is None:
                continue
            check_states(tensor, state, optimizer)
            for name, value in state.items():
                if isinstance(value, torch.Tensor) and value.shape == tensor.shape:
                    resized.append((state, name, _state_filled(name, value, changes)))
    return resized


def _begun(
    model: nn.Module, tensor: torch.Tensor, changes: list[Change], *, generator: torch.Generator
) -> torch.Tensor:
    values = tensor.detach()
    for change in changes:
        binding = change.binding
        layer = model.get_submodule(binding.path)

        def begin(shape: tuple[int, ...], layer: nn.Module = layer, change: Change = change) -> torch.Tensor:
            return layers.begin(
                layer, change.binding.part, role=change.binding.role, shape=shape, generator=generator
            ).to(tensor)

        values = _rearranged(values, change, begin)
    return values


def _zero_filled(values: torch.Tensor, changes: list[Change]) -> torch.Tensor:
    for change in changes:
        values = _rearranged(values, change, values.new_zeros)
    return values


def _state_filled(name: str, values: torch.Tensor, changes: list[Change]) -> torch.Tensor:
    for change in changes:
        dim = change.binding.part.dim
        before = values

        def fill(shape: tuple[int, ...], before: torch.Tensor = before, dim: int = dim) -> torch.Tensor:
            return state_of_new(name, before, dim=dim, count=shape[dim])

        values = _rearranged(values, change, fill)
    return values


def _rearranged(values: torch.Tensor, change: Change, fill: Any) -> torch.Tensor:
    dim = change.binding.part.dim
    sources = torch.from_numpy(np.maximum(change.sources, 0)).to(values.device)
    rearranged = values.index_select(dim, sources)
    new = np.flatnonzero(change.sources == NEW)
    if len(new):
        shape = list(values.shape)
        shape[dim] = len(new)
        rearranged.index_copy_(dim, torch.from_numpy(new).to(values.device), fill(tuple(shape)).contiguous())
    return rearranged
