"""What is known of torch's layers: which axes of their tensors are neurons, and how new neurons begin."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd


class Role(StrEnum):
    """What positions along an axis of a tensor are."""

    OUT = "out"
    IN = "in"
    CHANNEL = "channel"


class LayerKind(StrEnum):
    LINEAR = "linear"
    CONV = "conv"
    DEPTHWISE = "depthwise"
    NORM = "norm"
    SLOPE = "slope"


@dataclass(frozen=True, slots=True)
class Part:
    """A tensor of a layer, and the axis along which it has one entry per neuron."""

    name: str
    tensor: torch.Tensor
    dim: int


# What a new channel has in a tensor of that name.
_CHANNEL_VALUES = {
    LayerKind.NORM: {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0},
    LayerKind.SLOPE: {"weight": 0.25},
}
_KNOWN = (nn.Linear, _ConvNd, _NormBase, nn.PReLU)


def kind_of(layer: nn.Module) -> LayerKind | None:
    """None for a layer whose neurons cannot be told, or whose forward or weights are not torch's own."""
    if not isinstance(layer, _KNOWN) or not type(layer).forward.__module__.startswith("torch.nn.modules."):
        return None
    if isinstance(layer, nn.modules.lazy.LazyModuleMixin):
        return None
    if isinstance(layer, nn.Linear):
        kind: LayerKind | None = LayerKind.LINEAR
    elif isinstance(layer, _ConvNd):
        kind = _conv_kind(layer)
    else:
        kind = LayerKind.NORM if isinstance(layer, _NormBase) else LayerKind.SLOPE
    if kind is not LayerKind.NORM and "weight" not in layer._parameters:
        # A parametrization computes it, as weight normalization does.
        return None
    return kind


def parts_of(layer: nn.Module) -> list[Part]:
    """The tensors that have one entry per neuron of a layer whose kind is known."""
    weight_dim = 1 if isinstance(layer, _ConvTransposeNd) else 0
    names = ("weight", "bias", "running_mean", "running_var")
    found = ((name, getattr(layer, name, None)) for name in names)
    return [Part(name, tensor, weight_dim if name == "weight" else 0) for name, tensor in found if tensor is not None]


def in_part(layer: nn.Module) -> Part:
    """The weight of a linear or convolution layer, along the axis of its inputs."""
    weight: Any = layer.weight
    return Part("weight", weight, 0 if isinstance(layer, _ConvTransposeNd) else 1)


def resize_attributes(layer: nn.Module) -> None:
    """Make the numbers that a layer keeps beside its tensors agree with them."""
    kind = kind_of(layer)
    if isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = layer.weight.shape
    elif isinstance(layer, _ConvNd) and kind is LayerKind.DEPTHWISE:
        layer.in_channels = layer.groups = layer.weight.shape[0] // (layer.out_channels // layer.in_channels)
        layer.out_channels = layer.weight.shape[0]
    elif isinstance(layer, _ConvNd) and kind is LayerKind.CONV:
        layer.in_channels = layer.weight.shape[in_part(layer).dim]
        layer.out_channels = layer.weight.shape[1 - in_part(layer).dim]
    elif isinstance(layer, _NormBase) and (parts := parts_of(layer)):
        layer.num_features = len(parts[0].tensor)
    elif isinstance(layer, nn.PReLU):
        layer.num_parameters = len(layer.weight)


def begin(
    layer: nn.Module, part: Part, *, role: Role, shape: tuple[int, ...], generator: torch.Generator
) -> torch.Tensor:
    """Values of new neurons in a tensor: of that shape, float32 on the CPU.

    What reads a new neuron reads it with zero, so that it changes nothing at first; its own weights begin as torch's
    layers begin.
    """
    kind = kind_of(layer)
    if role is Role.IN:
        return torch.zeros(shape)
    if kind in _CHANNEL_VALUES:
        return torch.full(shape, _CHANNEL_VALUES[kind][part.name])
    weight: Any = layer.weight
    fan_in = weight[0].numel()
    bound = fan_in**-0.5 if fan_in else 0.0
    return torch.empty(shape).uniform_(-bound, bound, generator=generator)


def _conv_kind(layer: _ConvNd) -> LayerKind | None:
    if layer.groups == 1:
        return LayerKind.CONV
    if layer.groups == layer.in_channels and not isinstance(layer, _ConvTransposeNd):
        return LayerKind.DEPTHWISE
    return None
