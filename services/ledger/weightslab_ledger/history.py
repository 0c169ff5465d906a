"""What each sample's signal was in each epoch: one memory-mapped file of float32 per column, branch and epoch.

A file holds one number per row, with its bits inverted: the zeros of a sparse file then read as NaN, so that rows
without a value take no disk. Writing the same value again changes nothing, so messages that are read again after a
restart do no harm; files are made durable before the snapshot whose stream position says that they hold its values.
Beyond a bound the oldest files are deleted.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from weightslab_ledger.blobs import Rows
from weightslab_ledger.segments import sync_folder

_ITEM_BYTES = 4
# Files that are mapped at once.
_MAX_MAPPED = 64


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """One file: an epoch of a column on a branch."""

    column: str
    branch: str
    epoch: int


class History:
    """The files of an experiment. One writer; readers may come from other threads."""

    def __init__(self, folder: Path, keep_bytes: int) -> None:
        self._folder = folder
        self._keep_bytes = keep_bytes
        # Size by file, the oldest first.
        self._sizes: OrderedDict[Place, int] = OrderedDict()
        self._maps: OrderedDict[Place, NDArray[np.uint32]] = OrderedDict()
        self._guard = threading.Lock()
        self.dropped_count = 0

    @property
    def size_bytes(self) -> int:
        """Bytes of all files, were none of them sparse."""
        return sum(self._sizes.values())

    def load(self) -> None:
        """Find the files that are there. Blocks; raises OSError."""
        found: list[tuple[int, Place, int]] = []
        for described in self._folder.glob("*/column.json"):
            record = orjson.loads(described.read_bytes())
            for path in described.parent.glob("*.f32"):
                state = path.stat()
                place = Place(record["column"], record["branch"], int(path.stem))
                found.append((state.st_mtime_ns, place, state.st_size))
        self._sizes = OrderedDict((place, size) for _, place, size in sorted(found))

    def _path(self, place: Place) -> Path:
        name = hashlib.sha256(f"{place.column}\0{place.branch}".encode()).hexdigest()[:24]
        return self._folder / name / f"{place.epoch:010d}.f32"

    def put(
        self,
        column: str,
        branch: str,
        *,
        rows: Rows,
        epochs: NDArray[np.uint32],
        values: NDArray[np.float32],
        row_count: int,
    ) -> None:
        """Keep values, one per entry of `rows` and `epochs`; NaN is no value. Raises OSError."""
        known = ~np.isnan(values)
        if not known.all():
            rows, epochs, values = rows[known], epochs[known], values[known]
        bits = ~np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
        for epoch in np.unique(epochs).tolist():
            chosen: Any = (
                slice(None) if epochs[0] == epochs[-1] == epoch and (epochs == epoch).all() else epochs == epoch
            )
            with self._guard:
                self._mapped(Place(column, branch, epoch), row_count)[rows[chosen]] = bits[chosen]

    def _mapped(self, place: Place, row_count: int) -> NDArray[np.uint32]:
        found = self._maps.get(place)
        if found is not None and len(found) >= row_count:
            self._maps.move_to_end(place)
            return found
        path = self._path(place)
        if place not in self._sizes:
            self._make_folder(path.parent, place)
        size = max(row_count * _ITEM_BYTES, self._sizes.get(place, 0))
        with path.open("ab") as file:
            file.truncate(size)
        self._sizes[place] = size
        self._drop(place)
        self._maps[place] = mapped = np.memmap(path, dtype="<u4", mode="r+")
        self._maps.move_to_end(place)
        while len(self._maps) > _MAX_MAPPED:
            _flush(self._maps.popitem(last=False)[1])
        return mapped

    def _make_folder(self, folder: Path, place: Place) -> None:
        if (folder / "column.json").exists():
            return
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / "column.draft"
        draft.write_bytes(orjson.dumps({"column": place.column, "branch": place.branch}))
        draft.rename(folder / "column.json")
        sync_folder(folder)
        sync_folder(self._folder)

    def _drop(self, keep: Place) -> None:
        total = self.size_bytes
        for place in list(self._sizes):
            if total <= self._keep_bytes:
                return
            if place == keep:
                continue
            total -= self._sizes.pop(place)
            self._maps.pop(place, None)
            self._path(place).unlink(missing_ok=True)
            self.dropped_count += 1

    def flush(self) -> None:
        """Make everything that was put durable. Blocks; raises OSError."""
        with self._guard:
            maps = list(self._maps.values())
        for mapped in maps:
            _flush(mapped)

    def values(self, column: str, rows: Rows, *, branches: set[str]) -> Iterator[tuple[Place, NDArray[np.float32]]]:
        """For each epoch of each branch, of all when none is named, one float32 per entry of `rows`. Blocks."""
        with self._guard:
            places = sorted(
                place for place in self._sizes if place.column == column and (not branches or place.branch in branches)
            )
        for place in places:
            try:
                with self._path(place).open("rb", buffering=0) as file:
                    content = [os.pread(file.fileno(), _ITEM_BYTES, row * _ITEM_BYTES) for row in rows.tolist()]
            except FileNotFoundError:
                # Dropped since.
                continue
            bits = np.frombuffer(b"".join(part.ljust(_ITEM_BYTES, b"\0") for part in content), dtype="<u4")
            yield place, (~bits).view(np.float32)

    def close(self) -> None:
        """Blocks; raises OSError."""
        self.flush()
        self._maps.clear()


def _flush(mapped: NDArray[np.uint32]) -> None:
    assert isinstance(mapped, np.memmap)
    mapped.flush()
