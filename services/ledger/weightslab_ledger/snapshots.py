"""Snapshots of the columns: all of them with the stream position they hold, in one file that is whole or not there."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from weightslab_ledger.columns import ColumnTable
from weightslab_ledger.segments import Damage, encode, read_file, sync_folder
from weightslab_ledger.sequences import SeenSequences

log = logging.getLogger(__name__)

_KEPT = 2


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
                file.write(encode({"column": name, "field": field, "dtype": values.dtype.str}, values.tobytes()))
        for run_id, bits in seen.items():
            file.write(encode({"run": run_id}, bits))
        file.flush()
        os.fsync(file.fileno())
    draft.rename(final)
    sync_folder(folder)
    for old in sorted(folder.glob("columns-*.snap"))[:-_KEPT]:
        old.unlink()
    return final


def read_snapshot(path: Path) -> Snapshot | None:
    """A snapshot, or None when any of it does not hold."""
    damage = Damage()
    records = list(read_file(path, damage))
    if damage.records or not records or len(records) != records[0].header.get("records", -1) + 1:
        return None
    columns = ColumnTable(value_version=records[0].header["value_version"])
    seen: dict[str, bytes] = {}
    for record in records[1:]:
        header = record.header
        if "run" in header:
            seen[header["run"]] = record.body
            continue
        column = columns.column(header["column"])
        column.fields[header["field"]] = np.frombuffer(record.body, dtype=header["dtype"]).copy()
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
