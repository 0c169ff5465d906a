"""The whole state of the training: captured, hashed, restored. Called on the training thread at the gate only."""

from __future__ import annotations

import contextlib
import functools
import types
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from weightslab_common.errors import FailedPrecondition

from weightslab import rng, tree
from weightslab.companions import Companions
from weightslab.loader_pass import position_from
from weightslab.run import Run

_OBJECTS = (
    LRScheduler,
    Optimizer,
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    functools.partial,
)


def generators(run: Run) -> list[torch.Generator]:
    """The user's generators that watched loaders draw from, each once."""
    found = {id(g): g for loader in run.loaders for g in loader.generators}
    return list(found.values())


def state_of(run: Run, companions: Companions) -> dict[str, Any]:
    """The state as it is, sharing its tensors with the live objects. What the certificate of an audit hashes."""
    return {
        "models": {name: _tensors_of(model) for name, model in run.models.items()},
        "parameters": {name: _parameters_of_none(run, optimizer) for name, optimizer in run.optimizers.items()},
        "optimizers": {name: optimizer.state_dict() for name, optimizer in run.optimizers.items()},
        "schedulers": [_without_objects(scheduler.state_dict()) for scheduler in companions.schedulers],
        "scalers": [scaler.state_dict() for scaler in companions.scalers],
        "rng": rng.capture(generators(run)),
    }


def types_of(run: Run, companions: Companions) -> dict[str, Any]:
    """Whose state it is: one optimizer's state in another would end the training at its next step."""
    return {
        "optimizers": {name: type(optimizer).__qualname__ for name, optimizer in run.optimizers.items()},
        "schedulers": [type(scheduler).__qualname__ for scheduler in companions.schedulers],
        "scalers": [type(scaler).__qualname__ for scaler in companions.scalers],
    }


def architectures_of(run: Run) -> dict[str, Any]:
    """How the models came to their shapes: what a checkpoint keeps beside their tensors."""
    return {name: state.saved() for name, state in run.model_states.items()}


def positions_of(run: Run) -> dict[str, Any]:
    """Where the training loaders stand. Others begin anew anyway."""
    return {loader.name: asdict(loader.position()) for loader in run.loaders if loader.train and loader.split}


def gradients_of(run: Run) -> list[tuple[torch.Tensor, torch.Tensor | None]]:
    """Of every parameter, with a copy of its gradient."""
    parameters = [
        *(parameter for model in run.models.values() for parameter in model.parameters()),
        *(each for optimizer in run.optimizers.values() for each in _parameters_of_none(run, optimizer).values()),
    ]
    return [(each, None if each.grad is None else each.grad.detach().clone()) for each in parameters]


def restore_gradients(gradients: list[tuple[torch.Tensor, torch.Tensor | None]]) -> None:
    for parameter, saved in gradients:
        parameter.grad = saved


def check_fits(run: Run, state: dict[str, Any], companions: Companions) -> None:
    """Raise FailedPrecondition that says why, unless `state` can be restored into the run."""
    live = state_of(run, companions)
    missing = sorted((live.keys() - {"parameters"} | {"loaders", "hyperparameters"}) - state.keys())
    if missing:
        raise FailedPrecondition(f"the checkpoint has no {', '.join(missing)}: it is of another program")
    for kind in ("models", "optimizers"):
        if live[kind].keys() != state[kind].keys():
            raise FailedPrecondition(
                f"the checkpoint has the {kind} {sorted(state[kind])}, this run has {sorted(live[kind])}"
            )
    for kind in ("schedulers", "scalers"):
        if len(live[kind]) != len(state[kind]):
            raise FailedPrecondition(f"the checkpoint has {len(state[kind])} {kind}, this run has {len(live[kind])}")
    _check_types(live=types_of(run, companions), saved=state.get("types", {}))
    for name, tensors in live["models"].items():
        known = run.model_states.get(name)
        saved_shape = state.get("architectures", {}).get(name)
        # A model whose layers have no shape yet takes any.
        if known is None or any(map(is_lazy, tensors.values())) or not known.accepts(saved_shape):
            _check_tensors(f"model {name!r}", live=tensors, saved=state["models"][name])
    for name, tensors in state.get("parameters", {}).items():
        _check_tensors(f"parameters of optimizer {name!r}", live=live["parameters"][name], saved=tensors)
    for name, optimizer in live["optimizers"].items():
        sizes = [len(group["params"]) for group in optimizer["param_groups"]]
        saved_sizes = [len(group["params"]) for group in state["optimizers"][name]["param_groups"]]
        if sizes != saved_sizes:
            raise FailedPrecondition(f"optimizer {name!r}: groups of {saved_sizes} parameters were saved, not {sizes}")


def restore(run: Run, state: dict[str, Any], companions: Companions) -> None:
    """Make `state`, which fits, the state of the run. Streams come last: the rest must not move them.

    Raises FailedPrecondition, and changes nothing, when an optimizer, a scheduler or a scaler refuses its state.
    """
    # A loop may stand at its gate inside the user's `inference_mode`, where tensors would be made unfit for training.
    with torch.inference_mode(False), torch.no_grad():
        _load_all(
            [
                *((run.optimizers[name], saved) for name, saved in state["optimizers"].items()),
                *zip(companions.schedulers, tree.cloned(state["schedulers"]), strict=True),
                *zip(companions.scalers, tree.cloned(state["scalers"]), strict=True),
            ]
        )
        for name, saved in state["models"].items():
            for key, live in _tensors_of(run.models[name]).items():
                if is_lazy(live):
                    live.materialize(saved[key].shape)
        for name, architecture in state.get("architectures", {}).items():
            if name in run.model_states and run.model_states[name].accepts(architecture):
                run.model_states[name].adopt(architecture, state["models"][name])
        for name, saved in state["models"].items():
            for key, live in _tensors_of(run.models[name]).items():
                live.copy_(saved[key])
        # Checkpoints of former builds have none.
        for name, saved in state.get("parameters", {}).items():
            for key, live in _parameters_of_none(run, run.optimizers[name]).items():
                live.copy_(saved[key])
        rng.restore(state["rng"], generators(run))


def restore_positions(run: Run, positions: dict[str, Any]) -> None:
    """Move the loaders that are still watched to where they stood."""
    for loader in run.loaders:
        saved = positions.get(loader.name)
        if saved is not None:
            loader.move_to(position_from(saved))


def copied(run: Run, companions: Companions) -> dict[str, Any]:
    """The state, sharing nothing with the live objects."""
    copy: dict[str, Any] = tree.cloned(state_of(run, companions))
    return copy


def _tensors_of(model: torch.nn.Module) -> dict[str, Any]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _parameters_of_none(run: Run, optimizer: Optimizer) -> dict[str, torch.Tensor]:
    """Parameters of an optimizer that no watched model has, as those of a loss that learns, by their number."""
    known = {id(parameter) for model in run.models.values() for parameter in model.parameters()}
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return {str(number): each for number, each in enumerate(parameters) if id(each) not in known}


def _without_objects(state: dict[str, Any]) -> dict[str, Any]:
    """The state of a scheduler without functions, and without schedulers and optimizers, whose states are kept too."""
    return {name: value for name, value in state.items() if not isinstance(value, _OBJECTS)}


def _load_all(states: Sequence[tuple[Any, dict[str, Any]]]) -> None:
    """Give each its state, or leave all as they are: their code may be the user's and refuse one."""
    before = [(target, target.state_dict()) for target, _ in states]
    for target, state in states:
        try:
            _load(target, state)
        except Exception as error:
            for loaded, own in before:
                # The one that refuses may refuse this, too.
                with contextlib.suppress(Exception):
                    _load(loaded, own)
            raise FailedPrecondition(f"{type(target).__name__} does not take the saved state: {error}") from error


def _load(target: Any, state: dict[str, Any]) -> None:
    if not state:
        # Of a scaler that was switched off: one that is on begins anew.
        return
    target.load_state_dict(state)
    if not isinstance(target, Optimizer):
        return
    # torch casts it to the type of the parameter; an optimizer that keeps another, as of weights in half precision,
    # would go on with less than it had.
    numbers = (number for group in state["param_groups"] for number in group["params"])
    parameters = (parameter for group in target.param_groups for parameter in group["params"])
    for number, parameter in zip(numbers, parameters, strict=True):
        loaded = target.state.get(parameter, {})
        for name, saved in state["state"].get(number, {}).items():
            if isinstance(saved, torch.Tensor) and name in loaded and loaded[name].dtype != saved.dtype:
                loaded[name] = saved.to(loaded[name].device)


def _check_types(*, live: dict[str, Any], saved: dict[str, Any]) -> None:
    for kind, names in saved.items():
        if live.get(kind) != names:
            raise FailedPrecondition(f"the checkpoint was saved with the {kind} {names}, this run has {live.get(kind)}")


def _check_tensors(what: str, *, live: dict[str, torch.Tensor], saved: dict[str, Any]) -> None:
    if live.keys() != saved.keys():
        different = sorted(live.keys() ^ saved.keys())
        raise FailedPrecondition(f"{what} differs from the saved one in {', '.join(different[:5])}")
    for key, tensor in live.items():
        if (not is_lazy(tensor) and tensor.shape != saved[key].shape) or tensor.dtype != saved[key].dtype:
            raise FailedPrecondition(
                f"{what}: {key} was saved as {saved[key].dtype} {tuple(saved[key].shape)}, "
                f"this run has {tensor.dtype} {tuple(tensor.shape)}"
            )
