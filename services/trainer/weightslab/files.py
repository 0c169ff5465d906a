"""Files that are either whole or not there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import orjson


def write_synced(path: Path, content: bytes) -> None:
    """Write `content` and wait until it is on disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the names in `folder` are on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, content: bytes) -> None:
    """Replace `path` as a whole: a reader, or a crash, sees the old content or the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    write_synced(partial, content)
    os.replace(partial, path)
    sync_folder(path.parent)


def read_json(path: Path) -> Any:
    """The value in `path`, None when there is no such file. Raises ValueError when it is no JSON."""
    try:
        return orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return None
