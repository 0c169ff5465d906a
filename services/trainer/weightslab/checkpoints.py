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
        partial = place.with_name(f".partial-{place.name}-{os.getpid()}")
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
            shutil.rmtree(place, ignore_errors=True)
            os.replace(partial, place)
            sync_folder(place.parent)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        return info

    def all(self) -> list[CheckpointInfo]:
        """By creation. What has no readable manifest, or one that names another place, is no checkpoint."""
        found: list[CheckpointInfo] = []
        for manifest in self._folder.glob(f"*/*/{_MANIFEST}"):
            if manifest.parent.name.startswith("."):
                continue
            try:
                entry = orjson.loads(manifest.read_bytes())
                info = CheckpointInfo(
                    created_unix_ms=int(entry["created_unix_ms"]),
                    branch=str(entry["branch"]),
                    step=int(entry["step"]),
                    size_bytes=int(entry["size_bytes"]),
                )
            except (OSError, ValueError, KeyError, TypeError):
                continue
            # Retention deletes the place of what is found here: a foreign manifest must not lead it elsewhere.
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


def superfluous(saved: list[CheckpointInfo], *, keep_last: int, pinned: set[tuple[str, int]]) -> list[CheckpointInfo]:
    """What retention may remove: all but the newest `keep_last` of each branch, and pins."""
    by_branch: dict[str, list[CheckpointInfo]] = {}
    for info in sorted(saved, key=lambda info: info.step):
        by_branch.setdefault(info.branch, []).append(info)
    return [
        info
        for infos in by_branch.values()
        for info in infos[: max(0, len(infos) - keep_last)]
        if (info.branch, info.step) not in pinned
    ]
