"""Columns come back from their snapshot as they were, and the file is never changed by what comes later."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from weightslab_ledger.columns import Batch, ColumnTable
from weightslab_ledger.segments import Damage, encode, read_file
from weightslab_ledger.sequences import SeenSequences
from weightslab_ledger.snapshots import Snapshot, load_newest, read_snapshot, write_snapshot

ROWS = 1000


def _values(snapshot: Snapshot, step: int) -> None:
    rows = np.arange(ROWS, dtype=np.uint32)
    batch = Batch(rows, np.full(ROWS, step), np.zeros(ROWS, dtype=np.uint32), ROWS)
    for name in ("train/loss", "train/correct"):
        snapshot.columns.update(name, batch, rows.astype(np.float32) + step)


@pytest.fixture
def snapshot() -> Snapshot:
    made = Snapshot(ColumnTable(), SeenSequences(), position=7)
    made.seen.add("run", 3)
    _values(made, 1)
    return made


def _same(one: Snapshot, other: Snapshot) -> bool:
    return all(
        np.array_equal(values, other.columns.columns[name].fields[field], equal_nan=True)
        for name, column in one.columns.columns.items()
        for field, values in column.fields.items()
    )


def test_it_comes_back_and_goes_on_without_its_file(snapshot: Snapshot, tmp_path: Path) -> None:
    path = write_snapshot(tmp_path, snapshot, token=1)
    written = path.read_bytes()
    loaded = load_newest(tmp_path)
    assert _same(snapshot, loaded)
    assert (loaded.position, loaded.columns.value_version, ("run", 3) in loaded.seen) == (7, 2 * ROWS, True)
    for column in loaded.columns.columns.values():
        assert all(values.flags.aligned for values in column.fields.values())
    for changed in (snapshot, loaded):
        _values(changed, 2)
    assert path.read_bytes() == written
    path.unlink()
    assert _same(snapshot, loaded)


def test_one_of_a_former_version_is_read(snapshot: Snapshot, tmp_path: Path) -> None:
    path = write_snapshot(tmp_path, snapshot, token=1)
    # Bodies were not aligned.
    records = [encode(record.header, bytes(record.body)) for record in read_file(path, Damage())]
    path.write_bytes(b"".join(records))
    assert _same(snapshot, load_newest(tmp_path))


@pytest.mark.parametrize("length", [0, 1, 100])
def test_one_that_is_cut_short_is_none(snapshot: Snapshot, tmp_path: Path, length: int) -> None:
    path = write_snapshot(tmp_path, snapshot, token=1)
    path.write_bytes(path.read_bytes()[:length])
    assert read_snapshot(path) is None


def test_every_flipped_bit_is_noticed(snapshot: Snapshot, tmp_path: Path) -> None:
    """One bit in each kilobyte, wherever it is."""
    path = write_snapshot(tmp_path, snapshot, token=1)
    written = path.read_bytes()
    for at in range(0, len(written), 1021):
        content = bytearray(written)
        content[at] ^= 1 << at % 8
        path.write_bytes(content)
        assert read_snapshot(path) is None, at
    path.write_bytes(written)
    assert read_snapshot(path) is not None
