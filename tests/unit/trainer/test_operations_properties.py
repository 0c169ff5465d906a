"""Random models under random operations: what holds of one holds of all of them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional
from weightslab.operations import ModelState, Operation, Request, operate
from weightslab_common.errors import FailedPrecondition

_Deed = tuple[Operation, int, int]


class Blocks(nn.Module):
    """Convolutions one behind the other; each may be added to what came before, or stand beside a second one."""

    def __init__(self, shapes: list[str], width: int) -> None:
        super().__init__()
        self.shapes = shapes
        self.stem = nn.Conv2d(2, width, 3, padding=1)
        self.layers = nn.ModuleDict()
        channels = width
        for number, shape in enumerate(shapes):
            wide = channels if shape in ("residual", "depthwise") else width
            groups = channels if shape == "depthwise" else 1
            self.layers[f"conv{number}"] = nn.Conv2d(channels, wide, 3, padding=1, groups=groups)
            self.layers[f"norm{number}"] = nn.BatchNorm2d(wide)
            if shape == "branch":
                self.layers[f"side{number}"] = nn.Conv2d(channels, 3, 1, bias=False)
                wide += 3
            channels = wide
        self.hidden = nn.Linear(channels * 4, width)
        self.head = nn.Linear(width, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(images))
        for number, shape in enumerate(self.shapes):
            made = functional.relu(self.layers[f"norm{number}"](self.layers[f"conv{number}"](x)))
            if shape == "residual":
                made = made + x
            if shape == "branch":
                made = torch.cat([made, self.layers[f"side{number}"](x)], dim=1)
            x = made
        x = functional.adaptive_avg_pool2d(x, 2).flatten(1)
        outputs: torch.Tensor = self.head(torch.tanh(self.hidden(x)))
        return outputs


deeds = st.tuples(st.sampled_from(list(Operation)), st.integers(0, 30), st.integers(1, 3))
blocks = st.lists(st.sampled_from(["plain", "residual", "depthwise", "branch"]), max_size=2)


@settings(max_examples=12, deadline=None, database=None)
@given(shapes=blocks, width=st.integers(2, 5), planned=st.lists(deeds, min_size=1, max_size=4), adam=st.booleans())
def test_any_sequence_of_operations_leaves_a_model_that_trains(
    shapes: list[str], width: int, planned: list[_Deed], adam: bool
) -> None:
    torch.manual_seed(1)
    model = Blocks(shapes, width)
    state = ModelState(model)
    optimizer: torch.optim.Optimizer = (
        torch.optim.Adam(model.parameters()) if adam else torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    )
    images = torch.rand(3, 2, 4, 4)
    _step(model, optimizer, images)
    layers = [(number, path) for number, (path, layer) in enumerate(model.named_modules()) if _has_neurons(layer)]
    for operation, pick, amount in planned:
        number, path = layers[pick % len(layers)]
        before, outputs = copy.deepcopy(model), _outputs(model, images)
        try:
            operate(model, state, _request(operation, number, pick, amount, model.get_submodule(path)), seed=pick)
        except FailedPrecondition:
            assert _same_tensors(model, before)
            continue
        if operation in (Operation.ADD, Operation.FREEZE, Operation.THAW):
            torch.testing.assert_close(_outputs(model, images), outputs, rtol=0, atol=1e-5)
        _check_sizes(model, optimizer)
        _step(model, optimizer, images)
    _check_sizes(model, optimizer)


@settings(max_examples=12, deadline=None, database=None)
@given(shapes=blocks, width=st.integers(3, 5), pick=st.integers(0, 30), neuron=st.integers(0, 4))
def test_pruning_what_was_added_gives_the_model_back(shapes: list[str], width: int, pick: int, neuron: int) -> None:
    torch.manual_seed(1)
    model = Blocks(shapes, width)
    state = ModelState(model)
    images = torch.rand(3, 2, 4, 4)
    model(images)
    layers = [number for number, (_, layer) in enumerate(model.named_modules()) if isinstance(layer, nn.Linear)]
    number = layers[0] if pick % 2 else 1
    layer: Any = list(model.modules())[number]
    before = copy.deepcopy(model)
    had = layer.weight.shape[0]
    operate(model, state, Request(Operation.ADD, number, count=neuron + 1), seed=pick)
    assert not _same_tensors(model, before)
    operate(model, state, Request(Operation.PRUNE, number, neurons=tuple(range(had, had + neuron + 1))), seed=pick)
    assert _same_tensors(model, before)


def _request(operation: Operation, number: int, pick: int, amount: int, layer: nn.Module) -> Request:
    width = len(layer.weight)  # type: ignore[arg-type]
    if operation is Operation.ADD:
        return Request(operation, number, count=amount)
    chosen = sorted({(pick * 7 + step) % width for step in range(amount)})
    return Request(operation, number, neurons=tuple(chosen))


def _step(model: nn.Module, optimizer: torch.optim.Optimizer, images: torch.Tensor) -> None:
    optimizer.zero_grad()
    loss = model(images).square().mean()
    loss.backward()
    optimizer.step()
    assert loss.isfinite()


def _outputs(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    model.eval()
    with torch.no_grad():
        outputs: torch.Tensor = model(images)
    model.train()
    return outputs


def _check_sizes(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    for parameter, state in optimizer.state.items():
        assert all(value.shape == parameter.shape for value in state.values() if value is not None and value.ndim)
    for layer in model.modules():
        for name, count in _counts(layer):
            assert len(getattr(layer, name)) == count


def _counts(layer: nn.Module) -> Iterator[tuple[str, int]]:
    if isinstance(layer, nn.Conv2d):
        yield "weight", layer.out_channels
        assert layer.weight.shape[1] == layer.in_channels // layer.groups
    if isinstance(layer, nn.Linear):
        yield "weight", layer.out_features
        assert layer.weight.shape[1] == layer.in_features
    if isinstance(layer, nn.BatchNorm2d):
        yield from ((name, layer.num_features) for name in ("weight", "bias", "running_mean", "running_var"))


def _has_neurons(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Conv2d | nn.Linear | nn.BatchNorm2d)


def _same_tensors(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.state_dict().items(), second.state_dict().items(), strict=True)
    return all(name == other and torch.equal(one, two) for (name, one), (other, two) in pairs)


@pytest.mark.parametrize("shape", ["plain", "residual", "depthwise", "branch"])
def test_every_kind_of_block_can_grow(shape: str) -> None:
    model = Blocks([shape], 4)
    state = ModelState(model)
    model(torch.rand(3, 2, 4, 4))
    assert operate(model, state, Request(Operation.ADD, 1, count=2), seed=0).startswith("stem has 6 neurons now")
