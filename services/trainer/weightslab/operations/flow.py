"""Follows the units of a model through its graph: which layer reads which units where.

The graph is traced by torch.fx and run on fake tensors, which have shapes and no data. Beside each tensor goes its
layout: the axis that has one entry per unit, and the label of each entry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import fx, nn
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily

from weightslab.operations import ops
from weightslab.operations.labels import LabelArray
from weightslab.operations.layers import LayerKind, Part, Role, in_part, kind_of, parts_of
from weightslab.operations.ops import Passage


@dataclass(frozen=True, slots=True)
class Layout:
    """The axis of the units in a tensor, and the label of each position along it."""

    dim: int
    labels: LabelArray


class Books(Protocol):
    """What a flow writes down, or checks, as it goes."""

    def bind(self, path: str, part: Part, *, role: Role, labels: LabelArray | None) -> LabelArray:
        """The labels along an axis of a tensor; `labels` are those that arrive there, None for what is not tracked."""

    def unite(self, first: LabelArray, second: LabelArray) -> None: ...

    def fix(self, labels: LabelArray, reason: str) -> None: ...

    def constant(self) -> int:
        """The label of positions that hold no unit."""

    def note(self, name: str, fact: Any) -> None:
        """Something at a node that no change of widths may change."""

    def shape_of(self, tensor: torch.Tensor) -> tuple[int, ...]: ...


class Flow(fx.Interpreter):
    """Runs a graph on fake tensors, and the labels beside them."""

    def __init__(self, graph: fx.GraphModule, *, books: Books, fake: FakeTensorMode) -> None:
        super().__init__(graph, garbage_collect_values=False)
        self._books = books
        self._fake = fake
        self._layouts: dict[fx.Node, Any] = {}
        self.extra_traceback = False
        self.current = ""

    def run_node(self, n: fx.Node) -> Any:
        # An error is told with the node that it comes from.
        self.current = n.name
        value = super().run_node(n)
        self._layouts[n] = self._layout(n, value)
        self._note_shape(n, value)
        return value

    def get_attr(self, target: Any, args: Any, kwargs: Any) -> Any:
        found = self.fetch_attr(target)
        return self._faked(found) if isinstance(found, torch.Tensor) else found

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        layer = self._lookalike(self.fetch_attr(target))
        return layer.forward(*args, **kwargs)

    def _lookalike(self, layer: Any) -> Any:
        """A layer that shares nothing that forward changes: no tensor, no hook."""
        copy = layer.__class__.__new__(layer.__class__)
        copy.__dict__.update(layer.__dict__)
        for kind in ("_parameters", "_buffers"):
            own = {n: None if t is None else self._faked(t) for n, t in layer.__dict__[kind].items()}
            copy.__dict__[kind] = own
        copy.__dict__["_modules"] = {n: child and self._lookalike(child) for n, child in layer._modules.items()}
        if isinstance(layer, nn.RNNBase):
            copy.__dict__["_flat_weights"] = [getattr(copy, name) for name in layer._flat_weights_names]
        if kind_of(layer) is LayerKind.DEPTHWISE:
            multiplier = layer.out_channels // layer.in_channels
            copy.__dict__["groups"] = copy.weight.shape[0] // multiplier
        return copy

    def _faked(self, tensor: torch.Tensor) -> torch.Tensor:
        shape = self._books.shape_of(tensor)
        return torch.empty(shape, dtype=tensor.dtype, device=tensor.device, requires_grad=tensor.requires_grad)

    def _note_shape(self, node: fx.Node, value: Any) -> None:
        layout = self._layouts[node]
        if isinstance(value, torch.Tensor):
            shape: list[int | None] = list(value.shape)
            if isinstance(layout, Layout):
                shape[layout.dim] = None
            self._books.note(f"the shape of {node.name}", shape)

    # Layouts.

    def _layout(self, node: fx.Node, value: Any) -> Any:
        inputs = [source for source in node.all_input_nodes if self._layouts.get(source) is not None]
        if node.op == "output":
            self._fix(inputs, "it is an output of the model")
        elif node.op == "call_module":
            return self._layer_layout(node, value, inputs)
        elif node.op in ("call_function", "call_method") and inputs and _holds_tensors(value):
            passage = ops.function_passage(node)
            return self._pass(node, passage, value, inputs=inputs, name=ops.function_name(node).strip("_"))
        return None

    def _layer_layout(self, node: fx.Node, value: Any, inputs: list[fx.Node]) -> Any:
        path = str(node.target)
        layer = self.fetch_attr(path)
        kind = kind_of(layer)
        if kind in (LayerKind.LINEAR, LayerKind.CONV):
            return self._producer_layout(node, value, path=path, layer=layer)
        if kind in (LayerKind.NORM, LayerKind.SLOPE, LayerKind.DEPTHWISE):
            return self._channel_layout(node, value, path=path, layer=layer)
        passage = ops.layer_passage(layer)
        if not inputs:
            return None
        if passage is Passage.UNKNOWN:
            return self._fix(inputs, f"it goes into {path} ({type(layer).__name__}), which ties neurons together")
        return self._pass(node, passage, value, inputs=inputs, name=type(layer).__name__)

    def _producer_layout(self, node: fx.Node, value: torch.Tensor, *, path: str, layer: Any) -> Layout:
        dim = value.ndim - 1 if isinstance(layer, nn.Linear) else value.ndim - 1 - len(layer.kernel_size)
        arriving = self._layouts.get(_first(node))
        if arriving is not None and arriving.dim != dim:
            self._books.fix(arriving.labels, f"{path} reads it along another axis")
            arriving = None
        self._books.bind(path, in_part(layer), role=Role.IN, labels=arriving and arriving.labels)
        labels: LabelArray | None = None
        for part in parts_of(layer):
            labels = self._books.bind(path, part, role=Role.OUT, labels=labels)
        assert labels is not None
        return Layout(dim, labels)

    def _channel_layout(self, node: fx.Node, value: torch.Tensor, *, path: str, layer: Any) -> Layout | None:
        arriving = self._layouts.get(_first(node))
        depthwise = kind_of(layer) is LayerKind.DEPTHWISE
        dim = value.ndim - 1 - len(layer.kernel_size) if depthwise else 1
        parts = parts_of(layer)
        if isinstance(layer, nn.PReLU) and len(layer.weight) == 1:
            return arriving
        if arriving is None or arriving.dim != dim:
            if arriving is not None:
                self._books.fix(arriving.labels, f"{path} reads it along another axis")
            for part in parts:
                self._books.bind(path, part, role=Role.CHANNEL, labels=None)
            return None
        multiplier = layer.out_channels // layer.in_channels if depthwise else 1
        labels = np.repeat(arriving.labels, multiplier)
        for part in parts:
            self._books.bind(path, part, role=Role.CHANNEL, labels=labels)
        return Layout(dim, labels)

    def _pass(self, node: fx.Node, passage: Passage, value: Any, *, inputs: list[fx.Node], name: str) -> Any:
        args, kwargs = self.fetch_args_kwargs_from_env(node)
        source = self._layouts[inputs[0]]
        if passage is Passage.MOVE:
            return self._moved(node, inputs=inputs, name=name)
        self._books.note(f"the numbers given to {node.name}", _numbers((args, kwargs)))
        if not isinstance(value, torch.Tensor) or isinstance(source, list):
            return self._fix(inputs, f"it goes into {name}")
        if passage is Passage.UNARY and inputs[0] is _first(node):
            return source
        if passage is Passage.SPATIAL and inputs[0] is _first(node):
            axes = ops.spatial_axes(name, ndim=value.ndim, args=args, kwargs=kwargs)
            if source.dim < value.ndim - axes:
                return source
        if passage is Passage.REDUCE:
            ndim = self.env[inputs[0]].ndim
            axes_removed = ops.reduced_axes(args, kwargs, ndim=ndim)
            if source.dim not in axes_removed:
                lost = 0 if value.ndim == ndim else sum(axis < source.dim for axis in axes_removed)
                return Layout(source.dim - lost, source.labels)
        if passage is Passage.JOIN or (passage is Passage.DIVIDE and inputs == [_first(node)]):
            return self._joined(node, value, inputs=inputs, name=name)
        return self._fix(inputs, f"it goes into {name}, which ties neurons together or is not known")

    def _joined(self, node: fx.Node, value: torch.Tensor, *, inputs: list[fx.Node], name: str) -> Any:
        """Of tensors that are broadcast against each other: what meets is one unit."""
        layouts = [self._layouts[source] for source in inputs]
        dims = {value.ndim - self.env[source].ndim + self._layouts[source].dim for source in inputs}
        widths = {len(layout.labels) for layout in layouts}
        if len(dims) > 1 or len(widths) > 1:
            return self._fix(inputs, f"{name} joins it with a tensor along another axis")
        dim = dims.pop()
        for other in node.all_input_nodes:
            tensor = self.env[other]
            if other in inputs or not isinstance(tensor, torch.Tensor):
                continue
            axis = dim - (value.ndim - tensor.ndim)
            if axis >= 0 and tensor.shape[axis] != 1:
                return self._fix(inputs, f"{name} joins it with {other.name}, whose width is fixed")
        for layout in layouts[1:]:
            self._books.unite(layouts[0].labels, layout.labels)
        return Layout(dim, layouts[0].labels)

    def _moved(self, node: fx.Node, *, inputs: list[fx.Node], name: str) -> Any:
        """Where the units are after their values were moved: the labels are moved in the same way."""
        source = self._layouts[inputs[0]]
        if name == "getitem" and isinstance(source, list):
            return source[node.args[1]]  # type: ignore[index]

        def labelled(other: fx.Node) -> Any:
            value = self.env[other]
            if not isinstance(value, torch.Tensor):
                return value
            layout = self._layouts.get(other)
            if layout is None:
                return torch.tensor(self._books.constant()).expand(value.shape)
            shape = [1] * value.ndim
            shape[layout.dim] = -1
            return torch.from_numpy(layout.labels).view(shape).expand(value.shape)

        if any(isinstance(self._layouts[other], list) for other in inputs):
            return self._fix(inputs, f"it goes into {name}")
        # Labels are real, beside fake tensors.
        with unset_fake_temporarily():
            args, kwargs = fx.node.map_arg((node.args, node.kwargs), labelled)
            moved = self._call(node, args, kwargs)
            if isinstance(moved, torch.Tensor):
                return self._found(moved, inputs, name)
            return [self._found(one, inputs, name) for one in moved]

    def _call(self, node: fx.Node, args: Any, kwargs: Any) -> Any:
        if node.op == "call_module":
            return self.fetch_attr(str(node.target)).forward(*args, **kwargs)
        if node.op == "call_method":
            # Labels are spread without a copy, which `view` refuses.
            method = "reshape" if node.target == "view" else str(node.target)
            return getattr(args[0], method)(*args[1:], **kwargs)
        assert callable(node.target)
        return node.target(*args, **kwargs)

    def _found(self, moved: torch.Tensor, inputs: list[fx.Node], name: str) -> Any:
        varying = [dim for dim in range(moved.ndim) if bool((moved != moved.narrow(dim, 0, 1)).any())]
        if len(varying) != 1:
            return self._fix(inputs, f"{name} picks a single one of its channels, or spreads them over several axes")
        (dim,) = varying
        return Layout(dim, moved.movedim(dim, 0).flatten(1)[:, 0].numpy().copy())

    def _fix(self, inputs: list[fx.Node], reason: str) -> Any:
        """The units that arrive here cannot change; none is tracked from here on."""
        for source in inputs:
            layout = self._layouts[source]
            for one in layout if isinstance(layout, list) else [layout]:
                if one is not None:
                    self._books.fix(one.labels, reason)
        return None


def _first(node: fx.Node) -> Any:
    return node.args[0] if node.args else next(iter(node.kwargs.values()), None)


def _holds_tensors(value: Any) -> bool:
    items = value if isinstance(value, list | tuple) else [value]
    return any(isinstance(item, torch.Tensor) for item in items)


def _numbers(value: Any) -> list[float]:
    if isinstance(value, bool | int | float):
        return [value]
    if isinstance(value, torch.Tensor) or not isinstance(value, list | tuple | dict):
        return []
    items = value.values() if isinstance(value, dict) else value
    return [number for item in items for number in _numbers(item)]
