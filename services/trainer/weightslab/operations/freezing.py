"""Frozen neurons: whatever an optimizer does to them in a step is undone, weight decay and momentum included."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from weightslab.operations import resize


class FrozenNeurons:
    """Positions of parameters of one model that do not move."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        # By name of the parameter: the axis and the positions along it.
        self._rows: dict[str, tuple[int, list[int]]] = {}
        self._tensors: list[tuple[torch.Tensor, int, torch.Tensor]] = []
        self._held: list[torch.Tensor] = []
        self._hooks: list[Any] = []

    def rows(self) -> dict[str, tuple[int, list[int]]]:
        return dict(self._rows)

    def replace(self, rows: dict[str, tuple[int, list[int]]]) -> None:
        """Freeze these positions, and no others."""
        self._rows = {name: (dim, sorted(chosen)) for name, (dim, chosen) in rows.items() if chosen}
        for hook in self._hooks:
            hook.remove()
        parameters = dict(self._model.named_parameters(remove_duplicate=False))
        self._tensors = [
            (parameters[name], dim, torch.tensor(chosen, device=parameters[name].device))
            for name, (dim, chosen) in self._rows.items()
        ]
        self._hooks = [
            hook
            for optimizer in resize.optimizers_of(tensor for tensor, _, _ in self._tensors)
            for hook in (
                optimizer.register_step_pre_hook(self._before_step),
                optimizer.register_step_post_hook(self._after_step),
            )
        ]

    def _before_step(self, *_: Any) -> None:
        with torch.no_grad():
            for tensor, dim, rows in self._tensors:
                if tensor.grad is not None:
                    tensor.grad.index_fill_(dim, rows, 0.0)
            self._held = [tensor.index_select(dim, rows) for tensor, dim, rows in self._tensors]

    def _after_step(self, *_: Any) -> None:
        with torch.no_grad():
            for (tensor, dim, rows), held in zip(self._tensors, self._held, strict=True):
                tensor.index_copy_(dim, rows, held)
        self._held = []
