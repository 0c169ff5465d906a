"""The first forward of a model, remembered: how it was called and what shapes its layers gave. No data is kept."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True, slots=True)
class TensorSpec:
    shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device


class ForwardMemory:
    """Hooks a model for one forward, then leaves no trace in it."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._handles: list[Any] = []
        # By parameter of `forward`: a TensorSpec or the plain value. None before the first forward.
        self.arguments: dict[str, Any] | None = None
        # By path of the layer, as text.
        self.output_shapes: dict[str, str] = {}
        self.arm()

    def arm(self) -> None:
        """Remember the next forward."""
        self._disarm()
        self._handles = [self._model.register_forward_pre_hook(self._begin, with_kwargs=True)]

    def _begin(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if model is not self._model or torch.compiler.is_compiling():
            return
        self._disarm()
        self.arguments = _bound(model, args, kwargs)
        paths = _hookable(model)

        def note(layer: nn.Module, _: Any, output: Any) -> None:
            # `DataParallel` runs replicas of layers, which share their hooks.
            if (path := paths.get(layer)) is not None:
                self.output_shapes[path] = _shape_text(output)
            if layer is model:
                self._disarm()

        self._handles = [layer.register_forward_hook(note) for layer in paths]

    def _disarm(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def __deepcopy__(self, memo: dict[int, Any]) -> ForwardMemory:
        # A copy of the model, for example of moving averages, is nobody's business.
        return self


def is_compiled(layer: nn.Module) -> bool:
    """Whether calling `layer` runs compiled code."""
    return getattr(layer, "_compiled_call_impl", None) is not None or type(layer).__name__ == "OptimizedModule"


def _hookable(model: nn.Module) -> dict[nn.Module, str]:
    """The layers and their paths, without those in compiled ones: these trace their hooks, and compile twice so."""
    layers = list(model.named_modules())
    compiled = tuple(f"{path}." if path else "" for path, layer in layers if is_compiled(layer))
    return {layer: path for path, layer in layers if layer is model or not path.startswith(compiled)}


def _bound(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    try:
        bound = inspect.signature(model.forward).bind(*args, **kwargs)
    except (TypeError, ValueError):
        return {}
    bound.apply_defaults()
    return {name: _spec(value) for name, value in bound.arguments.items()}


def _spec(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return TensorSpec(tuple(value.shape), value.dtype, value.device)
    return value if value is None or isinstance(value, bool | int | float | str) else type(value)


def _shape_text(output: Any) -> str:
    if isinstance(output, torch.Tensor):
        return "×".join(map(str, output.shape)) or "scalar"
    if isinstance(output, list | tuple):
        return f"({', '.join(map(_shape_text, output))})"
    return type(output).__name__
