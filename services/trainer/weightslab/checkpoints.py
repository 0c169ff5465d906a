"""Checkpoints on disk: safetensors for tensors, JSON for the rest, checksummed, whole or not there. No pickle.

`<folder>/<branch>/<step>/` holds `tensors.safetensors`, `state.json` and `manifest.json`, which has their SHA-256.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import safetensors.torch
from safetensors import SafetensorError
from weightslab_common.errors import FailedPrecondition, NotFound

from weightslab import tree
from weightslab.files import sync_folder, write_synced

_FORMAT = 1
_TENSORS = "tensors.safetensors"
_STATE = "state.json"
_MANIFEST = "manifest.json"
# Before the name of a folder that is being written, and of one that is being replaced.
_PARTIAL = ".partial-"
_REPLACED = ".replaced-"


@dataclass(frozen=True, slots=True, order=True)
class CheckpointInfo:
    """One saved state. Sorts by creation."""

    created_unix_ms: int
    branch: str
    step: int
    size_bytes: int


class CheckpointStore:
    """The checkpoints of one experiment."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, *, branch: str, step: int, state: dict[str, Any]) -> CheckpointInfo:
        """Save a state whose tensors are on the CPU; an earlier one of the same branch and step is replaced."""
        value, tensors = tree.encode(state)
        place = self._place(branch, step)
        partial = place.with_name(_PARTIAL + place.name)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            contents = {_TENSORS: safetensors.torch.save(tensors), _STATE: json.dumps(value).encode()}
            for name, content in contents.items():
                write_synced(partial / name, content)
            info = CheckpointInfo(
                created_unix_ms=time.time_ns() // 1_000_000,
                branch=branch,
                step=step,
                size_bytes=sum(map(len, contents.values())),
            )
            manifest = {
                "format": _FORMAT,
                "branch": branch,
                "step": step,
                "created_unix_ms": info.created_unix_ms,
                "size_bytes": info.size_bytes,
                "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
            }
            write_synced(partial / _MANIFEST, orjson.dumps(manifest))
            sync_folder(partial)
            _replace(place, partial)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        return info

    def mend(self) -> None:
        """Take away what a killed process left half done. Only for the process that writes."""
        for left in self._folder.glob(f"*/{_PARTIAL}*"):
            shutil.rmtree(left, ignore_errors=True)
        for replaced in self._folder.glob(f"*/{_REPLACED}*"):
            place = replaced.with_name(replaced.name.removeprefix(_REPLACED))
            if place.exists():
                shutil.rmtree(replaced, ignore_errors=True)
            else:
                os.replace(replaced, place)

    def all(self) -> list[CheckpointInfo]:
        """By creation. What has no readable manifest, or that of another place, is no checkpoint."""
        found: list[CheckpointInfo] = []
        for manifest in self._folder.glob(f"*/*/{_MANIFEST}"):
            try:
                info = _info(orjson.loads(manifest.read_bytes()))
            except (OSError, ValueError, KeyError, TypeError):
                continue
            # A folder that was copied here from elsewhere, or is half written, is never listed, read or removed.
            if self._place(info.branch, info.step) == manifest.parent:
                found.append(info)
        return sorted(found)

    def at_or_before(self, branch: str, step: int) -> CheckpointInfo:
        """The newest saved step of `branch` at or before `step`. Raises NotFound that says what there is."""
        saved = [info for info in self.all() if info.branch == branch]
        fitting = [info for info in saved if info.step <= step]
        if fitting:
            return max(fitting, key=lambda info: info.step)
        steps = ", ".join(str(info.step) for info in sorted(saved, key=lambda info: info.step)[:20]) or "none"
        raise NotFound(f"branch {branch!r} has no checkpoint at or before step {step}; saved steps: {steps}")

    def read(self, info: CheckpointInfo) -> dict[str, Any]:
        """The saved state, checked. Raises FailedPrecondition that names the damaged file."""
        place = self._place(info.branch, info.step)
        damaged = place / _MANIFEST
        try:
            manifest = orjson.loads((place / _MANIFEST).read_bytes())
            if (manifest["branch"], manifest["step"]) != (info.branch, info.step):
                raise FailedPrecondition(f"{damaged} is of another checkpoint: it is not loaded")
            if manifest["format"] != _FORMAT:
                raise FailedPrecondition(f"{place} has format {manifest['format']}, this version reads {_FORMAT}")
            contents = {}
            for name in (_TENSORS, _STATE):
                damaged = place / name
                contents[name] = damaged.read_bytes()
                if hashlib.sha256(contents[name]).hexdigest() != manifest["sha256"][name]:
                    raise FailedPrecondition(f"{damaged} does not match its checksum: the checkpoint is not loaded")
            state: dict[str, Any] = tree.decode(
                json.loads(contents[_STATE]), safetensors.torch.load(contents[_TENSORS])
            )
            return state
        except (OSError, ValueError, KeyError, TypeError, RecursionError, SafetensorError) as error:
            raise FailedPrecondition(f"{damaged} cannot be read ({error}): the checkpoint is not loaded") from error

    def remove(self, info: CheckpointInfo) -> None:
        shutil.rmtree(self._place(info.branch, info.step), ignore_errors=True)

    def _place(self, branch: str, step: int) -> Path:
        return self._folder / branch / f"{step:012d}"


def _info(manifest: Any) -> CheckpointInfo:
    return CheckpointInfo(
        created_unix_ms=int(manifest["created_unix_ms"]),
        branch=str(manifest["branch"]),
        step=int(manifest["step"]),
        size_bytes=int(manifest["size_bytes"]),
    )


def _replace(place: Path, partial: Path) -> None:
    """Put `partial` in `place`; at no moment is there neither the old content nor the new on disk."""
    replaced = place.with_name(_REPLACED + place.name)
    shutil.rmtree(replaced, ignore_errors=True)
    if place.exists():
        os.replace(place, replaced)
    os.replace(partial, place)
    sync_folder(place.parent)
    shutil.rmtree(replaced, ignore_errors=True)
