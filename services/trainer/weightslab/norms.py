"""Norms of each layer of a watched model, as signals: off unless they are asked for, and never waiting for the device.

The norm of a layer is the Euclidean one over its own parameters, or over their gradients, taken together. The norm of
its activation is that of one sample's output, in the mean over the samples that it saw during the step.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from weightslab_common.errors import InvalidArgument

from weightslab.records import CurvesRecord, copied_event, hand_off

if TYPE_CHECKING:
    from weightslab.run import Run

KINDS = ("activation", "gradient", "weight")
# Forwards of one step that are looked at: enough for any accumulation, and a bound when no step comes.
_FORWARDS_PER_STEP = 64


class LayerNorms:
    """Measures one model every `every` steps. On the training thread."""

    def __init__(self, run: Run, model: nn.Module, *, name: str, kinds: Collection[str], every: int) -> None:
        unknown = sorted(set(kinds) - set(KINDS))
        if isinstance(kinds, str) or unknown:
            wrong = kinds if isinstance(kinds, str) else unknown[0]
            raise InvalidArgument(f"there are no norms {wrong!r}; give a list of: {', '.join(KINDS)}")
        if every < 1:
            raise InvalidArgument(f"norms are measured every 1 or more steps, not every {every}")
        self._run = run
        self._model = model
        # The first model needs no name before its signals.
        self._prefix = f"{name}/" if run.norms else ""
        self._kinds = frozenset(kinds)
        self._every = every
        self._activations: dict[str, list[torch.Tensor]] = {}
        if "activation" in self._kinds:
            for path, layer in _layers(model):
                layer.register_forward_hook(_ActivationHook(self, path))

    def measure(self) -> None:
        """Called before each step of the optimizer, when the gradients are those that it will use."""
        if self._run.step % self._every == 0:
            for kind in ("gradient", "weight"):
                if kind in self._kinds:
                    self._publish(kind, list(self._parameters(gradients=kind == "gradient")))
        seen, self._activations = self._activations, {}
        self._publish("activation", [(path, torch.stack(norms).mean()) for path, norms in seen.items()])

    def note_activation(self, path: str, output: Any) -> None:
        """Called after a layer's forward."""
        # First of all: a compiler would compile anew for each step that it sees.
        if torch.compiler.is_compiling() or self._run.step % self._every or not self._model.training:
            return
        if isinstance(output, tuple | list) and output:
            output = output[0]
        # Stand-ins of tensors come while an operation traces the model.
        if type(output) is not torch.Tensor or not output.is_floating_point() or not output.numel():
            return
        norms = self._activations.setdefault(path, [])
        if len(norms) < _FORWARDS_PER_STEP:
            with torch.no_grad():
                found = output.detach()
                samples = found.flatten(1) if found.ndim > 1 else found.reshape(1, -1)
                norms.append(torch.linalg.vector_norm(samples, dim=1, dtype=_wide(samples)).float().mean())

    def _parameters(self, *, gradients: bool) -> Iterator[tuple[str, torch.Tensor]]:
        with torch.no_grad():
            for path, layer in _layers(self._model):
                for parameter in layer.parameters(recurse=False):
                    found = parameter.grad if gradients else parameter
                    if found is not None:
                        found = found.detach()
                        dense = found.coalesce().values() if found.is_sparse else found
                        yield path, torch.linalg.vector_norm(dense, dtype=_wide(dense)).float()

    def _publish(self, kind: str, measured: list[tuple[str, torch.Tensor]]) -> None:
        if not measured:
            return
        device = measured[0][1].device
        norms = torch.stack([norm.to(device, non_blocking=True) for _, norm in measured])
        signals = tuple(f"{self._prefix}{kind}_norm/{path or 'model'}" for path, _ in measured)
        columns = {"norms": hand_off(norms)}
        self._run.ring.add(CurvesRecord(self._run.moment(), signals, columns, copied_event(norms)))

    def __deepcopy__(self, memo: dict[int, Any]) -> LayerNorms:
        # A copy of the model, for example of moving averages, is not measured twice: its hooks lead here.
        return self


class _ActivationHook:
    """Knows where its layer stands; silent in a copy of the model, and in one that was pickled."""

    def __init__(self, norms: LayerNorms, path: str) -> None:
        self._norms: LayerNorms | None = norms
        self._path = path

    def __call__(self, layer: nn.Module, args: Any, output: Any) -> None:
        if self._norms is not None:
            self._norms.note_activation(self._path, output)

    def __getstate__(self) -> dict[str, Any]:
        return {"_norms": None, "_path": self._path}


def _layers(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Those that have parameters of their own, by their path."""
    for path, layer in model.named_modules():
        if layer._parameters:
            yield path, layer


def _wide(tensor: torch.Tensor) -> torch.dtype | None:
    """Half precision would overflow in a sum of squares."""
    return torch.float32 if tensor.element_size() < 4 else None
