"""State as a tree of plain values and tensors: copied, written as JSON beside tensors, read back, hashed. No pickle."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from weightslab_common.errors import FailedPrecondition

Tensors = dict[str, torch.Tensor]


def map_tensors(tree: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """A copy of `tree` whose tensors are changed; nothing in it is shared with `tree` but what cannot change."""
    if isinstance(tree, torch.Tensor):
        return change(tree)
    if isinstance(tree, np.ndarray):
        return tree.copy()
    if isinstance(tree, Counter):
        return Counter(tree)
    if isinstance(tree, Mapping):
        return {key: map_tensors(value, change) for key, value in tree.items()}
    if isinstance(tree, list):
        return [map_tensors(value, change) for value in tree]
    if isinstance(tree, tuple):
        return tuple(map_tensors(value, change) for value in tree)
    return tree


def cloned(tree: Any) -> Any:
    """A copy on the same devices."""
    return map_tensors(tree, lambda tensor: tensor.detach().clone())


def cloned_to_cpu(tree: Any) -> Any:
    return map_tensors(tree, lambda tensor: tensor.detach().to("cpu", copy=True).contiguous())


def encode(tree: Any) -> tuple[Any, Tensors]:
    """`tree` as a JSON value and the tensors it refers to by their path.

    Raises FailedPrecondition that names what can be neither.
    """
    tensors: Tensors = {}
    return _encode(tree, path="", tensors=tensors), tensors


def decode(value: Any, tensors: Tensors) -> Any:
    """The tree that `encode` was given. Raises KeyError, TypeError or ValueError on anything else."""
    if isinstance(value, list):
        return [decode(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if "$tensor" in value:
        return tensors[value["$tensor"]]
    if "$array" in value:
        return np.array(value["$array"], dtype=value["dtype"])
    if "$tuple" in value:
        return tuple(decode(item, tensors) for item in value["$tuple"])
    if "$items" in value:
        items = {decode(key, tensors): decode(item, tensors) for key, item in value["$items"]}
        return Counter(items) if value.get("counter") else items
    return {key: decode(item, tensors) for key, item in value.items()}


def digest(tree: Any) -> str:
    """SHA-256 over every value and every byte of every tensor of `tree`."""
    value, tensors = encode(tree)
    hashed = hashlib.sha256(json.dumps(value, sort_keys=True).encode())
    for path, tensor in sorted(tensors.items()):
        hashed.update(f"{path} {tensor.dtype} {tuple(tensor.shape)}".encode())
        raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        hashed.update(raw.numpy().data)
    return hashed.hexdigest()


def _encode(tree: Any, *, path: str, tensors: Tensors) -> Any:
    if tree is None or type(tree) in (bool, int, float, str):
        return tree
    if isinstance(tree, torch.Tensor):
        tensors[path] = tree
        return {"$tensor": path}
    if isinstance(tree, np.ndarray):
        return {"$array": tree.tolist(), "dtype": str(tree.dtype)}
    if isinstance(tree, np.generic):
        return tree.item()
    if isinstance(tree, Mapping):
        if not isinstance(tree, Counter) and all(type(key) is str and not key.startswith("$") for key in tree):
            return {key: _encode(item, path=f"{path}/{key}", tensors=tensors) for key, item in tree.items()}
        items = [
            [_encode(key, path=f"{path}/key", tensors=tensors), _encode(item, path=f"{path}/{key}", tensors=tensors)]
            for key, item in tree.items()
        ]
        return {"$items": items, "counter": isinstance(tree, Counter)}
    if isinstance(tree, list | tuple):
        encoded = [_encode(item, path=f"{path}/{index}", tensors=tensors) for index, item in enumerate(tree)]
        return encoded if isinstance(tree, list) else {"$tuple": encoded}
    raise FailedPrecondition(f"the state {path!r} is a {type(tree).__name__}, which can be neither hashed nor saved")
