"""Snapshots of the columns: all of them with the stream position they hold, in one file that is whole or not there.

A snapshot is mapped into memory and checked, not copied: what is changed of a column then is a page of our own, and the
rest stays in the file, which may be deleted meanwhile.
"""

from __future__ import annotations

import logging
import mmap
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from weightslab_ledger.columns import ColumnTable
from weightslab_ledger.segments import Damage, decode, encode, encode_head, sync_folder
from weightslab_ledger.sequences import SeenSequences

log = logging.getLogger(__name__)

_KEPT = 2
# Numbers that lie so are quick to compute with.
_ALIGN_BYTES = 64


@dataclass(slots=True)
class Snapshot:
    """Columns, the messages they hold, and the position from which the stream must be read again."""

    columns: ColumnTable
    seen: SeenSequences
    position: int = 0


def write_snapshot(folder: Path, snapshot: Snapshot, *, token: int) -> Path:
    """Write a snapshot durably and delete all but the newest ones. Nothing may change it meanwhile."""
    final = folder / f"columns-{token:012d}-{snapshot.position:020d}.snap"
    draft = final.with_suffix(".draft")
    columns, seen = snapshot.columns, snapshot.seen.dump()
    with draft.open("wb") as file:
        record_count = sum(len(column.fields) for column in columns.columns.values()) + len(seen)
        first: dict[str, Any] = {
            "position": snapshot.position,
            "value_version": columns.value_version,
            "records": record_count,
        }
        file.write(encode(first, b""))
        for name, column in columns.columns.items():
            for field, values in column.fields.items():
                _write_column(file, {"column": name, "field": field, "dtype": values.dtype.str}, values)
        for run_id, bits in seen.items():
            file.write(encode({"run": run_id}, bits))
        file.flush()
        os.fsync(file.fileno())
    draft.rename(final)
    sync_folder(folder)
    for old in sorted(folder.glob("columns-*.snap"))[:-_KEPT]:
        old.unlink()
    return final


def _write_column(file: BinaryIO, header: dict[str, Any], values: NDArray[Any]) -> None:
    body = np.ascontiguousarray(values).view(np.uint8).data
    file.write(encode_head(header, body, offset=file.tell(), align=_ALIGN_BYTES))
    file.write(body)


def read_snapshot(path: Path) -> Snapshot | None:
    """A snapshot, or None when any of it does not hold."""
    if not path.stat().st_size:
        return None
    with path.open("rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    damage = Damage()
    records = list(decode(content, path, damage))
    if damage.records or not records or len(records) != records[0].header.get("records", -1) + 1:
        return None
    columns = ColumnTable(value_version=records[0].header["value_version"])
    seen: dict[str, bytes] = {}
    for record in records[1:]:
        header = record.header
        if "run" in header:
            seen[header["run"]] = bytes(record.body)
            continue
        column = columns.column(header["column"])
        values = np.frombuffer(record.body, dtype=header["dtype"])
        # Snapshots of former versions are not aligned.
        column.fields[header["field"]] = values if values.flags.aligned else values.copy()
    return Snapshot(columns, SeenSequences(seen), records[0].header["position"])


def load_newest(folder: Path) -> Snapshot:
    """The newest snapshot that holds; an empty one when there is none. What is damaged is set aside and reported."""
    for draft in folder.glob("columns-*.draft"):
        draft.unlink()
    for path in sorted(folder.glob("columns-*.snap"), reverse=True):
        snapshot = read_snapshot(path)
        if snapshot is not None:
            return snapshot
        aside = path.with_suffix(".damaged")
        path.rename(aside)
        log.error("the snapshot %s is damaged and was set aside; its values are read again from the bus", aside)
    return Snapshot(ColumnTable(), SeenSequences())
