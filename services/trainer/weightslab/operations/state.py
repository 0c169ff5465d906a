"""What is remembered of a watched model: its forward, its shape as the script made it, and what is frozen."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from weightslab_common.errors import FailedPrecondition

from weightslab.operations import layers, resize
from weightslab.operations.forward import ForwardMemory
from weightslab.operations.freezing import FrozenNeurons

Shapes = dict[str, list[int]]


class ModelState:
    """Beside one watched model. Owned by the training thread."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self.memory = ForwardMemory(model)
        self.frozen = FrozenNeurons(model)
        # Parameters that an operation froze as a whole.
        self.frozen_whole: set[str] = set()
        self._base: Shapes | None = None

    def base(self) -> Shapes:
        """The shapes that the script gave the model, before any operation."""
        return self._base if self._base is not None else shapes_of(self._model)

    def keep_base(self) -> None:
        """Called before the first operation that changes shapes."""
        self._base = self.base()

    def saved(self) -> dict[str, Any]:
        """What a checkpoint keeps, so that a model as the script makes it can be given this shape again."""
        return {
            "base": self.base(),
            "frozen": {name: [dim, rows] for name, (dim, rows) in self.frozen.rows().items()},
            "frozen_whole": sorted(self.frozen_whole),
        }

    def accepts(self, saved: dict[str, Any] | None) -> bool:
        """Whether a checkpoint is of the model that the script makes, whatever was done to either since."""
        return saved is not None and saved["base"] == self.base()

    def adopt(self, saved: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        """Give the model the shapes of `tensors`, which are accepted, and freeze what was frozen. Values come later."""
        live = {**dict(self._model.named_parameters()), **dict(self._model.named_buffers())}
        resized = {name: tensor for name, tensor in live.items() if tensor.shape != tensors[name].shape}
        if resized:
            self.keep_base()
        for name, tensor in resized.items():
            resize.put(tensor, torch.empty_like(tensors[name], device=tensor.device), gradient=None)
        for layer in self._model.modules() if resized else ():
            layers.resize_attributes(layer)
        parameters = dict(self._model.named_parameters())
        for name in self.frozen_whole ^ set(saved["frozen_whole"]):
            parameters[name].requires_grad_(name in saved["frozen_whole"])
        self.frozen_whole = set(saved["frozen_whole"])
        self.frozen.replace({name: (dim, list(rows)) for name, (dim, rows) in saved["frozen"].items()})
        if resized:
            self.memory.arm()


def shapes_of(model: nn.Module) -> Shapes:
    """Of all parameters and buffers. Raises FailedPrecondition for a model that has not made them yet."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    if any(is_lazy(tensor) for tensor in tensors.values()):
        raise FailedPrecondition("the model has layers without a shape yet: let it run one batch first")
    return {name: list(tensor.shape) for name, tensor in tensors.items()}
