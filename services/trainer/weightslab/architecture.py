"""A model as a tree that people can read."""

from __future__ import annotations

import torch
from torch.nn.parameter import is_lazy

from weightslab.operations import ModelState

_NAME_WIDTH = 40


def describe(model: torch.nn.Module, state: ModelState | None = None) -> str:
    """One line per layer: the id that operations take, name, type, shapes, parameters, what is frozen.

    The shape behind `→` is what the layer gave in the first forward; before that none is known.
    """
    shapes = dict(state.memory.output_shapes) if state else {}
    rows = state.frozen.rows() if state else {}
    lines: list[str] = []
    for layer_id, (path, layer) in enumerate(model.named_modules()):
        own = list(layer.named_parameters(recurse=False))
        name = path.rpartition(".")[2] or "model"
        depth = path.count(".") + 1 if path else 0
        frozen_rows = max((len(rows[f"{path}.{n}"][1]) for n, _ in own if f"{path}.{n}" in rows), default=0)
        details = (
            f"→ {shapes[path]}" if path in shapes else "",
            " ".join(f"{n}[{_shape(parameter)}]" for n, parameter in own),
            _count(own),
            "frozen" if own and not any(parameter.requires_grad for _, parameter in own) else "",
            f"{frozen_rows} neurons frozen" if frozen_rows else "",
        )
        described = f"{'  ' * depth}{name}: {type(layer).__name__}"
        lines.append(f"{layer_id:>4}  {described:<{_NAME_WIDTH}} {'  '.join(filter(None, details))}".rstrip())
    counted = list(model.named_parameters())
    trainable = [(n, parameter) for n, parameter in counted if parameter.requires_grad]
    return "\n".join(
        [
            *lines,
            f"      {_count(counted)} in all, {_count(trainable).removesuffix(' parameters') or 0} of them trained",
        ]
    )


def _shape(parameter: torch.Tensor) -> str:
    if is_lazy(parameter):
        return "not made yet"
    return "×".join(map(str, parameter.shape))


def _count(parameters: list[tuple[str, torch.nn.Parameter]]) -> str:
    made = [p for _, p in parameters if not is_lazy(p)]
    if not parameters:
        return ""
    return f"{sum(parameter.numel() for parameter in made):,} parameters"
