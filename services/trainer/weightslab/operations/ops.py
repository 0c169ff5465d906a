"""What is known of functions on tensors: how the axis of units goes through them. Others fix what they are given."""

from __future__ import annotations

import operator
from enum import StrEnum
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional


class Passage(StrEnum):
    # Each unit for itself; a new unit that is read with zero is as if it were not there.
    UNARY = "unary"
    JOIN = "join"
    DIVIDE = "divide"
    # The values are only moved.
    MOVE = "move"
    # Over the last axes; the number of them is told by the name.
    SPATIAL = "spatial"
    REDUCE = "reduce"
    UNKNOWN = "unknown"


_UNARY = (
    "relu relu6 leaky_relu elu selu celu gelu silu mish sigmoid hardsigmoid hardswish hardtanh tanh softplus softsign "
    "logsigmoid tanhshrink softshrink hardshrink dropout dropout1d dropout2d dropout3d alpha_dropout "
    "feature_alpha_dropout neg abs square sin cos clamp contiguous clone detach float half double bfloat16 to type"
)
_MOVES = (
    "flatten reshape view permute transpose unsqueeze squeeze expand repeat chunk split tensor_split unbind getitem "
    "cat concat concatenate stack movedim moveaxis swapaxes swapdims flip roll unflatten narrow select tile "
    "pixel_shuffle pixel_unshuffle channel_shuffle"
)
_PASSAGES = {
    **dict.fromkeys(_UNARY.split(), Passage.UNARY),
    **dict.fromkeys(["add", "iadd", "sub", "isub", "mul", "imul", "maximum", "minimum"], Passage.JOIN),
    **dict.fromkeys(["div", "truediv", "itruediv"], Passage.DIVIDE),
    **dict.fromkeys(_MOVES.split(), Passage.MOVE),
    **dict.fromkeys(["mean", "sum", "amax", "amin"], Passage.REDUCE),
    "interpolate": Passage.SPATIAL,
    "pad": Passage.SPATIAL,
}
_POOLS = ("max_pool", "avg_pool", "adaptive_max_pool", "adaptive_avg_pool", "lp_pool")
_UNARY_LAYERS = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Sigmoid, nn.Hardsigmoid),
    *(nn.Hardswish, nn.Hardtanh, nn.Tanh, nn.Softplus, nn.Softsign, nn.LogSigmoid, nn.Tanhshrink, nn.Softshrink),
    *(nn.Hardshrink, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout),
    nn.Identity,
)
_MOVING_LAYERS = (nn.Flatten, nn.Unflatten, nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle)


def function_name(node: fx.Node) -> str:
    if isinstance(node.target, str):
        return node.target
    return getattr(node.target, "__name__", str(node.target))


def function_passage(node: fx.Node) -> Passage:
    """Of a call of a function or method; a function of somebody else is unknown whatever its name."""
    name = function_name(node)
    if node.op == "call_function" and not any(
        getattr(module, name, None) is node.target for module in (torch, functional, operator)
    ):
        return Passage.UNKNOWN
    if node.op == "call_method":
        name = name.rstrip("_")
    name = name.removesuffix("_") if name not in _PASSAGES else name
    if name[:-2].startswith(_POOLS) and name[-1] == "d":
        return Passage.SPATIAL
    return _PASSAGES.get(name, Passage.UNKNOWN)


def layer_passage(layer: nn.Module) -> Passage:
    if type(layer) in _UNARY_LAYERS:
        return Passage.UNARY
    if type(layer) in _MOVING_LAYERS:
        return Passage.MOVE
    name = type(layer).__name__
    if type(layer).__module__ in (
        "torch.nn.modules.pooling",
        "torch.nn.modules.padding",
        "torch.nn.modules.upsampling",
    ):
        return Passage.SPATIAL if name[-2:] in ("1d", "2d", "3d") or name == "Upsample" else Passage.UNKNOWN
    return Passage.UNKNOWN


def spatial_axes(name: str, *, ndim: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    """How many of the last axes a spatial function works on."""
    if name == "pad":
        return len(kwargs["pad"] if "pad" in kwargs else args[1]) // 2
    return int(name[-2]) if name[-1] == "d" and name[-2].isdigit() else ndim - 2


def reduced_axes(args: tuple[Any, ...], kwargs: dict[str, Any], *, ndim: int) -> set[int]:
    """The axes that a reduction removes: all of them unless it says which."""
    dim = kwargs.get("dim", args[1:] and (args[1] if len(args) == 2 or not isinstance(args[1], int) else args[1:]))
    if dim is None or dim == ():
        return set(range(ndim))
    return {axis % ndim for axis in ((dim,) if isinstance(dim, int) else dim)}
