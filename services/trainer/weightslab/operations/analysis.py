"""What depends on what in a model: traced once for each operation, and checked again with the widths it would have."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import fx, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from weightslab_common.errors import FailedPrecondition

from weightslab import rng
from weightslab.operations.flow import Books, Flow
from weightslab.operations.forward import TensorSpec
from weightslab.operations.labels import LabelArray, Labels
from weightslab.operations.layers import Part, Role, kind_of

Key = tuple[int, int]
# Few samples show as much as many, and normalization refuses a single one.
_SAMPLES = 2


@dataclass(slots=True)
class Binding:
    """An axis of a tensor, and the units along it."""

    path: str
    part: Part
    role: Role
    labels: LabelArray


@dataclass(slots=True)
class Discovery:
    """Finds out what depends on what. Implements Books."""

    labels: Labels = field(default_factory=Labels)
    bindings: dict[Key, Binding] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    _constant: int | None = None

    def bind(self, path: str, part: Part, *, role: Role, labels: LabelArray | None) -> LabelArray:
        key = (id(part.tensor), part.dim)
        known = self.bindings.get(key)
        if labels is None:
            width = part.tensor.shape[part.dim]
            out = role is Role.OUT
            labels = self.labels.fresh(width) if out else np.full(width, self.constant(), dtype=np.int64)
        if known is None:
            self.bindings[key] = Binding(path, part, role, labels)
        else:
            self.labels.unite(known.labels, labels)
        return self.bindings[key].labels

    def unite(self, first: LabelArray, second: LabelArray) -> None:
        self.labels.unite(first, second)

    def fix(self, labels: LabelArray, reason: str) -> None:
        self.labels.fix(labels, reason)

    def constant(self) -> int:
        if self._constant is None:
            self._constant = self.labels.fixed("it belongs to the inputs of the model or to what has a fixed width")
        return self._constant

    def note(self, name: str, fact: Any) -> None:
        self.facts[name] = fact

    def shape_of(self, tensor: torch.Tensor) -> tuple[int, ...]:
        return tuple(tensor.shape)


class Mismatch(Exception):
    """The model would not do with other widths what it does with those it has."""


@dataclass(slots=True)
class Verification:
    """Checks planned widths: every layer must still read the units that it read. Implements Books."""

    found: Discovery
    planned: dict[Key, LabelArray]

    def bind(self, path: str, part: Part, *, role: Role, labels: LabelArray | None) -> LabelArray:
        key = (id(part.tensor), part.dim)
        expected = self.planned.get(key, self.found.bindings[key].labels)
        if labels is None and role is not Role.OUT:
            labels = np.full(part.tensor.shape[part.dim], self.constant(), dtype=np.int64)
        if labels is not None and not self._same(expected, labels):
            raise Mismatch(f"{path} would read other neurons than it reads now")
        return expected

    def unite(self, first: LabelArray, second: LabelArray) -> None:
        if not self._same(first, second):
            raise Mismatch("tensors that are joined would no longer fit together")

    def fix(self, labels: LabelArray, reason: str) -> None:
        """What is fixed is not changed by any plan."""

    def constant(self) -> int:
        return self.found.constant()

    def note(self, name: str, fact: Any) -> None:
        if self.found.facts.get(name) != fact:
            raise Mismatch(f"{name} would change from {self.found.facts.get(name)} to {fact}")

    def shape_of(self, tensor: torch.Tensor) -> tuple[int, ...]:
        return tuple(
            len(self.planned[(id(tensor), dim)]) if (id(tensor), dim) in self.planned else width
            for dim, width in enumerate(tensor.shape)
        )

    def _same(self, first: LabelArray, second: LabelArray) -> bool:
        return np.array_equal(self.found.labels.find(first), self.found.labels.find(second))


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return kind_of(m) is not None or super().is_leaf_module(m, module_qualified_name)


class Analysis:
    """The traced graph of a model, and what was found in it."""

    def __init__(self, model: nn.Module, arguments: dict[str, Any] | None) -> None:
        if arguments is None:
            raise FailedPrecondition("the model was not called yet: let it run one batch first")
        plain = {name: value for name, value in arguments.items() if not isinstance(value, TensorSpec)}
        odd = next((name for name, value in plain.items() if isinstance(value, type)), None)
        if odd is not None or not arguments:
            raise FailedPrecondition(
                f"the model is called with {odd or 'arguments'} that is neither a tensor nor a plain value; "
                "what depends on a layer cannot be found"
            )
        self._arguments = [arguments[name] for name in inspect.signature(model.forward).parameters]
        try:
            with rng.preserved():
                graph = _Tracer().trace(model, concrete_args=plain)
        except Exception as error:
            # The user's forward may raise anything when it is traced.
            raise FailedPrecondition(
                f"what depends on the layer cannot be found, since forward depends on the values of tensors: {error}"
            ) from error
        self._graph = fx.GraphModule(model, graph, class_name=type(model).__name__)
        self._samples: int | None = _SAMPLES
        self.found = self._discover()

    def check(self, planned: dict[Key, LabelArray]) -> None:
        """Raise FailedPrecondition, naming the place, unless the model works with the planned widths as before."""
        self._run(Verification(self.found, planned))

    def _discover(self) -> Discovery:
        try:
            self._run(found := Discovery())
        except FailedPrecondition:
            # A forward may insist on the size of its batch.
            self._samples = None
            self._run(found := Discovery())
        return found

    def _run(self, books: Books) -> None:
        fake = FakeTensorMode(allow_non_fake_inputs=True)
        flow: Flow | None = None
        try:
            with rng.preserved(), fake:
                flow = Flow(self._graph, books=books, fake=fake)
                flow.run(*map(self._fake_argument, self._arguments), enable_io_processing=False)
        except Exception as error:
            # As above: whatever forward raises means that the operation cannot be done.
            place = f" at {flow.current}" if flow is not None else ""
            raise FailedPrecondition(f"the model cannot be changed there{place}: {error}") from error

    def _fake_argument(self, value: Any) -> Any:
        if not isinstance(value, TensorSpec):
            return value
        shape = value.shape
        specs = [spec for spec in self._arguments if isinstance(spec, TensorSpec)]
        if self._samples and all(spec.shape and spec.shape[0] == shape[0] for spec in specs):
            shape = (self._samples, *shape[1:])
        return torch.empty(shape, dtype=value.dtype, device=value.device)
