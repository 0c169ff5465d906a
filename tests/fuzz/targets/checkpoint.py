"""Checkpoint files: each replaced by any bytes, with checksums that fit, so that parsing begins."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import orjson
import safetensors.torch
import torch
from weightslab.branches import BranchTree
from weightslab.checkpoints import CheckpointStore
from weightslab_common.errors import FailedPrecondition, NotFound

_FOLDER = Path(tempfile.mkdtemp(prefix="weightslab-fuzz-"))
_STORE = CheckpointStore(_FOLDER)
_SAVED = _STORE.write(
    branch="main",
    step=7,
    state={"model": {"weight": torch.arange(6.0).reshape(2, 3)}, "step": 7, "rng": (1, 2), "odd": {1: [None, True]}},
)
_PLACE = next(path.parent for path in _FOLDER.glob("*/*/manifest.json"))
_TENSORS, _STATE, _MANIFEST = (_PLACE / name for name in ("tensors.safetensors", "state.json", "manifest.json"))
_WHOLE = {path: path.read_bytes() for path in (_TENSORS, _STATE, _MANIFEST)}
_FIXED = sorted(_FOLDER.rglob("*"))


def attack(data: bytes) -> None:
    which, content = data[:1], data[1:]
    if which == b"B":
        _attack_branches(content)
        return
    replaced = {b"T": _TENSORS, b"S": _STATE}.get(which, _MANIFEST)
    for path, whole in _WHOLE.items():
        path.write_bytes(whole)
    replaced.write_bytes(content)
    if replaced != _MANIFEST:
        manifest = orjson.loads(_WHOLE[_MANIFEST])
        manifest["sha256"][replaced.name] = hashlib.sha256(content).hexdigest()
        _MANIFEST.write_bytes(orjson.dumps(manifest))
    for info in [*_STORE.all(), _SAVED]:
        # Whatever a manifest says, it leads to no other place.
        try:
            assert _STORE.at_or_before(info.branch, info.step).branch == info.branch
            _STORE.read(info)
        except (FailedPrecondition, NotFound):
            continue
    assert sorted(_FOLDER.rglob("*")) == _FIXED, "reading changed the folder"
    for info in _STORE.all():
        assert (info.branch, info.step) == ("main", 7), f"a manifest in main/7 passes for {info}"


def _attack_branches(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name in ("branches.json", "end.json"):
            (Path(folder) / name).write_bytes(content)
            try:
                tree = BranchTree(Path(folder))
            except FailedPrecondition:
                (Path(folder) / name).unlink()
                continue
            for record in tree.all():
                tree.ended_at(record.branch)
            tree.start(parent_branch="main", parent_step=1)


def seeds() -> list[bytes]:
    state = b'{"a":{"$tensor":"/model/weight"},"b":{"$array":[[1,2]],"dtype":"float32"},"c":{"$tuple":[1]},'
    return [
        b"T" + _WHOLE[_TENSORS],
        b"T" + safetensors.torch.save({"x": torch.zeros(2, dtype=torch.bfloat16), "y": torch.ones(1, 1)}),
        b"S" + _WHOLE[_STATE],
        b"S" + state + b'"d":{"$items":[[1,2],["x",{"$tuple":[]}]],"counter":true}}',
        b"M" + _WHOLE[_MANIFEST],
        b'B[{"branch":"main","name":"main","parent_branch":"","parent_step":0,"created_unix_ms":1}]',
        b'B{"main":3}',
    ]
