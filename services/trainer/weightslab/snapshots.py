"""The whole state of the training: captured, hashed, restored. Called on the training thread at the gate only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
from weightslab_common.errors import FailedPrecondition

from weightslab import rng, tree
from weightslab.companions import Companions
from weightslab.loader_pass import position_from
from weightslab.run import Run


def generators(run: Run) -> list[torch.Generator]:
    """The user's generators that watched loaders draw from, each once."""
    found = {id(g): g for loader in run.loaders for g in loader.generators}
    return list(found.values())


def state_of(run: Run, companions: Companions) -> dict[str, Any]:
    """The state as it is, sharing its tensors with the live objects. What the certificate of an audit hashes."""
    return {
        "models": {
            name: {**dict(model.named_parameters()), **dict(model.named_buffers())}
            for name, model in run.models.items()
        },
        "optimizers": {name: optimizer.state_dict() for name, optimizer in run.optimizers.items()},
        "schedulers": [scheduler.state_dict() for scheduler in companions.schedulers],
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


def gradients_of(run: Run) -> dict[str, dict[str, torch.Tensor | None]]:
    return {
        name: {key: None if p.grad is None else p.grad.detach().clone() for key, p in model.named_parameters()}
        for name, model in run.models.items()
    }


def restore_gradients(run: Run, gradients: dict[str, dict[str, torch.Tensor | None]]) -> None:
    for name, saved in gradients.items():
        for key, parameter in run.models[name].named_parameters():
            parameter.grad = saved.get(key)


def check_fits(run: Run, state: dict[str, Any], companions: Companions) -> None:
    """Raise FailedPrecondition that says why, unless `state` can be restored into the run."""
    live = state_of(run, companions)
    missing = sorted((live.keys() | {"loaders", "hyperparameters"}) - state.keys())
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
        if known is None or not known.accepts(state.get("architectures", {}).get(name)):
            _check_tensors(name, live=tensors, saved=state["models"][name])
    for name, optimizer in live["optimizers"].items():
        sizes = [len(group["params"]) for group in optimizer["param_groups"]]
        saved_sizes = [len(group["params"]) for group in state["optimizers"][name]["param_groups"]]
        if sizes != saved_sizes:
            raise FailedPrecondition(f"optimizer {name!r}: groups of {saved_sizes} parameters were saved, not {sizes}")


def restore(run: Run, state: dict[str, Any], companions: Companions) -> None:
    """Make `state`, which fits, the state of the run. Streams come last: the rest must not move them."""
    # A loop may stand at its gate inside the user's `inference_mode`, where tensors would be made unfit for training.
    with torch.inference_mode(False), torch.no_grad():
        for name, architecture in state.get("architectures", {}).items():
            if name in run.model_states and run.model_states[name].accepts(architecture):
                run.model_states[name].adopt(architecture, state["models"][name])
        for name, saved in state["models"].items():
            model = run.models[name]
            for key, live in (*model.named_parameters(), *model.named_buffers()):
                live.copy_(saved[key])
        for name, saved in state["optimizers"].items():
            run.optimizers[name].load_state_dict(saved)
        _load_all(companions.schedulers, state["schedulers"])
        _load_all(companions.scalers, state["scalers"])
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


def _load_all(live: Sequence[Any], saved: Sequence[dict[str, Any]]) -> None:
    for target, state in zip(live, saved, strict=True):
        target.load_state_dict(tree.cloned(state))


def _check_types(*, live: dict[str, Any], saved: dict[str, Any]) -> None:
    for kind, types in saved.items():
        if live.get(kind) != types:
            raise FailedPrecondition(f"the checkpoint was saved with the {kind} {types}, this run has {live.get(kind)}")


def _check_tensors(model: str, *, live: dict[str, torch.Tensor], saved: dict[str, Any]) -> None:
    if live.keys() != saved.keys():
        different = sorted(live.keys() ^ saved.keys())
        raise FailedPrecondition(f"model {model!r} differs from the saved one in {', '.join(different[:5])}")
    for key, tensor in live.items():
        if tensor.shape != saved[key].shape or tensor.dtype != saved[key].dtype:
            raise FailedPrecondition(
                f"model {model!r}: {key} was saved as {saved[key].dtype} {tuple(saved[key].shape)}, "
                f"this run has {tensor.dtype} {tuple(tensor.shape)}"
            )
