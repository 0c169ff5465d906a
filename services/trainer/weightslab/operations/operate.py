"""Add, prune, freeze, thaw and reset neurons of a layer. Called on the training thread at the gate only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from weightslab_common.errors import FailedPrecondition, InvalidArgument

from weightslab.operations import layers, resize
from weightslab.operations.analysis import Analysis
from weightslab.operations.forward import is_compiled
from weightslab.operations.layers import Part, Role
from weightslab.operations.plan import Plan, neurons_of, plan_add, plan_prune
from weightslab.operations.state import ModelState

_MOST_NEURONS = 65_536


class Operation(StrEnum):
    ADD = "add"
    PRUNE = "prune"
    FREEZE = "freeze"
    THAW = "thaw"
    RESET = "reset"


@dataclass(frozen=True, slots=True)
class Request:
    """Which neurons of which layer: `neurons` by index, or `count` of them, or with neither all of them."""

    operation: Operation
    layer_id: int
    count: int = 0
    neurons: tuple[int, ...] = ()


def operate(model: nn.Module, state: ModelState, request: Request, *, seed: int) -> str:
    """Do it, whole or not at all, and say in a sentence what was done.

    Raises InvalidArgument for a request that makes no sense, FailedPrecondition for one that the model does not allow.
    """
    path, layer = _layer(model, request.layer_id)
    _check_plain(model)
    # A loop may stand at its gate inside the user's `inference_mode`, where tensors would be made unfit for training.
    with torch.inference_mode(False), torch.no_grad():
        if request.operation in (Operation.FREEZE, Operation.THAW):
            return _freeze(model, state, path=path, layer=layer, request=request)
        parts = _parts(path, layer)
        generator = torch.Generator().manual_seed(seed)
        if request.operation is Operation.RESET:
            return _reset(model, path=path, layer=layer, request=request, generator=generator)
        analysis = Analysis(model, state.memory.arguments)
        neurons = neurons_of(analysis.found, path, parts)
        if request.operation is Operation.ADD:
            if request.neurons or not 0 < request.count <= _MOST_NEURONS:
                raise InvalidArgument(f"say how many neurons to add to {path}: a number from 1 to {_MOST_NEURONS}")
            plan = plan_add(analysis.found, path, neurons, request.count)
        else:
            chosen = _chosen(path, layer, request)
            if not chosen:
                raise InvalidArgument(f"say which neurons of {path} to prune, or how many")
            plan = plan_prune(analysis.found, path, neurons, chosen)
        analysis.check({key: change.labels for key, change in plan.items()})
        before = _width(parts)
        _apply(model, state, plan, generator=generator)
        others = sorted({change.binding.path for change in plan.values()} - {path})
        told = f"; {', '.join(others)} changed with it" if others else ""
        return f"{path} has {_width(_parts(path, layer))} neurons now, it had {before}{told}"


def _apply(model: nn.Module, state: ModelState, plan: Plan, *, generator: torch.Generator) -> None:
    names = {id(parameter): name for name, parameter in model.named_parameters(remove_duplicate=False)}
    rows = state.frozen.rows()
    for (tensor, dim), change in plan.items():
        name = names.get(tensor, "")
        if name in rows and rows[name][0] == dim:
            frozen = set(rows[name][1])
            rows[name] = (dim, [new for new, old in enumerate(change.sources.tolist()) if old in frozen])
    state.keep_base()
    resize.apply(model, plan, generator=generator)
    state.frozen.replace(rows)
    state.memory.arm()


def _reset(model: nn.Module, *, path: str, layer: nn.Module, request: Request, generator: torch.Generator) -> str:
    """Let the chosen neurons begin anew; the others, and who reads them, stay as they are."""
    chosen = torch.tensor(_chosen(path, layer, request) or range(_width(_parts(path, layer))))
    parts = _parts(path, layer)
    optimizers = resize.optimizers_of(part.tensor for part in parts)
    for part in parts:
        for optimizer in optimizers:
            resize.check_states(part.tensor, optimizer.state.get(part.tensor, {}), optimizer)
    for part in parts:
        rows = chosen.to(part.tensor.device)
        shape = list(part.tensor.shape)
        shape[part.dim] = len(chosen)
        role = Role.CHANNEL if isinstance(layer, _NormBase) else Role.OUT
        begun = layers.begin(layer, part, role=role, shape=tuple(shape), generator=generator)
        part.tensor.index_copy_(part.dim, rows, begun.to(part.tensor))
        if part.tensor.grad is not None:
            part.tensor.grad.index_fill_(part.dim, rows, 0.0)
        for optimizer in optimizers:
            for name, value in optimizer.state.get(part.tensor, {}).items():
                if isinstance(value, torch.Tensor) and value.shape == part.tensor.shape:
                    begun = resize.state_of_new(name, value, dim=part.dim, count=len(chosen)).contiguous()
                    value.index_copy_(part.dim, rows, begun)
    return f"{len(chosen)} of {_width(parts)} neurons of {path} begin anew"


def _freeze(model: nn.Module, state: ModelState, *, path: str, layer: nn.Module, request: Request) -> str:
    freeze = request.operation is Operation.FREEZE
    prefix = f"{path}." if path else ""
    own = {f"{prefix}{name}": parameter for name, parameter in layer.named_parameters()}
    if not own:
        raise InvalidArgument(f"layer {path} has no parameters")
    rows = state.frozen.rows()
    if not request.neurons and not request.count:
        left = [p for p in model.parameters() if p.requires_grad and all(p is not mine for mine in own.values())]
        if freeze and not left:
            raise FailedPrecondition(f"nothing would be left to train without {path or 'the model'}")
        for parameter in own.values():
            parameter.requires_grad_(freeze is False)
            if freeze:
                parameter.grad = None
        state.frozen_whole = state.frozen_whole | own.keys() if freeze else state.frozen_whole - own.keys()
        state.frozen.replace({name: kept for name, kept in rows.items() if name not in own})
        return f"{path or 'the model'} is {'frozen' if freeze else 'trained again'}"
    parts = [part for part in _parts(path, layer) if isinstance(part.tensor, nn.Parameter)]
    if not all(part.tensor.requires_grad for part in parts):
        raise FailedPrecondition(f"{path} is frozen as a whole: thaw it first")
    chosen = set(_chosen(path, layer, request))
    for part in parts:
        name = f"{prefix}{part.name}"
        before = set(rows.get(name, (part.dim, []))[1])
        rows[name] = (part.dim, sorted(before | chosen if freeze else before - chosen))
    state.frozen.replace(rows)
    now = len(rows[f"{prefix}{parts[0].name}"][1])
    return f"{now} of {_width(parts)} neurons of {path} are frozen"


def _layer(model: nn.Module, layer_id: int) -> tuple[str, nn.Module]:
    known: list[tuple[str, nn.Module]] = list(model.named_modules())
    if not 0 <= layer_id < len(known):
        raise InvalidArgument(f"there is no layer {layer_id}; plot_model shows the layers 0 to {len(known) - 1}")
    return known[layer_id]


def _check_plain(model: nn.Module) -> None:
    if is_compiled(model):
        raise FailedPrecondition("a compiled model has the sizes of its layers built in: its neurons cannot be changed")
    spread = torch.distributed.is_available() and torch.distributed.is_initialized()
    ranks = torch.distributed.get_world_size() if spread else 1
    if ranks > 1 or isinstance(model, nn.parallel.DistributedDataParallel | nn.DataParallel):
        raise FailedPrecondition("the neurons of a model that is distributed over processes or devices cannot change")


def _parts(path: str, layer: nn.Module) -> list[Part]:
    parts = layers.parts_of(layer) if layers.kind_of(layer) is not None else []
    if not parts:
        raise InvalidArgument(
            f"layer {path or 'model'} is a {type(layer).__name__}: neurons can be told in Linear, convolution and "
            "BatchNorm layers with weights of their own"
        )
    return parts


def _width(parts: Sequence[Part]) -> int:
    return parts[0].tensor.shape[parts[0].dim]


def _chosen(path: str, layer: nn.Module, request: Request) -> list[int]:
    """The neurons that are named, or so many: those of the smallest weights, but of the largest to be frozen."""
    parts = _parts(path, layer)
    width = _width(parts)
    wrong = [neuron for neuron in request.neurons if not 0 <= neuron < width]
    if wrong:
        raise InvalidArgument(f"layer {path} has no neuron {wrong[0]}; it has 0 to {width - 1}")
    if not 0 <= request.count <= width:
        raise InvalidArgument(f"layer {path} has {width} neurons, not {request.count}")
    if request.neurons:
        return sorted(set(request.neurons))
    weight = parts[0].tensor.movedim(parts[0].dim, 0).reshape(width, -1)
    largest_first = request.operation is Operation.FREEZE
    order = torch.argsort(weight.float().norm(dim=1), stable=True, descending=largest_first)
    return sorted(order[: request.count].tolist())
