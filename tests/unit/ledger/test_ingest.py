"""Each message is taken in once, whatever comes twice, too early or damaged."""

from __future__ import annotations

import resource
import shutil
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import pytest
from weightslab_common import subjects
from weightslab_common.columns import F32, F64, I64, U32, pack
from weightslab_ledger import value_log
from weightslab_ledger.catalog import Catalog
from weightslab_ledger.catalog_store import CatalogStore
from weightslab_ledger.curves import Key
from weightslab_ledger.ingest import MAX_WAITING, Ingest, Message
from weightslab_ledger.store import Store
from weightslab_proto.weightslab.bus.v1 import SampleValueBatch, SampleValueColumn, SignalBatch, SignalColumn
from weightslab_proto.weightslab.v1 import Mode

from tests.unit.ledger.trainers import registration

# Written by version 0.1.0 before there were chunks: a point, and two messages of values of the registration below.
FORMER = Path(__file__).parent / "former"
KEY = Key("train/loss", "main", 1)
REGISTRATION = Message(subjects.SAMPLES, bytes(registration("train", list("abcd"), registration_id="r")), 1)


def _points(sequence: int, step: int, *, position: int = 0) -> Message:
    column = SignalColumn(signal="train/loss", steps=pack([step], I64), values=pack([step / 2], F64))
    batch = SignalBatch(run_id="run", sequence=sequence, branch="main", mode=Mode.TRAIN, columns=[column])
    return Message(subjects.SIGNALS, bytes(batch), position or sequence + 1)


def _values(
    sequence: int, positions: list[int], values: list[float], *, step: int = 1, mode: Mode = Mode.TRAIN
) -> Message:
    batch = SampleValueBatch(
        run_id="run",
        sequence=sequence,
        branch="main",
        mode=mode,
        split="train",
        registration_id="r",
        positions=pack(positions, U32),
        steps=pack([step] * len(positions), I64),
        epochs=pack([0] * len(positions), U32),
        columns=[SampleValueColumn(signal="train/loss", values=pack(values, F32))],
    )
    return Message(subjects.VALUES, bytes(batch), sequence + 1)


def _names(folder: Path, pattern: str) -> list[str]:
    return [path.name for path in folder.glob(pattern)]


def _flip_bit(folder: Path, pattern: str, where: Callable[[bytes], int]) -> None:
    (path,) = folder.glob(pattern)
    content = path.read_bytes()
    at = where(content)
    path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])


Opener = Callable[[int], Ingest]


@pytest.fixture
async def opened(redis_url: str, tmp_path: Path) -> AsyncIterator[Opener]:
    """Opens the same experiment under a fencing token, as after a restart."""
    store = Store(redis_url)
    experiment = f"ingest-{uuid.uuid4().hex[:10]}"

    def open_ingest(token: int) -> Ingest:
        catalog_store = CatalogStore(store, experiment)
        # No lease is taken here, so the token in the store is 0 whatever the files are named by.
        ingest = Ingest(
            catalog=Catalog(),
            catalog_store=catalog_store,
            folder=tmp_path,
            token=token,
            values_bytes=1 << 20,
        )
        ingest.load()
        ingest.token = 0
        ingests.append(ingest)
        return ingest

    ingests: list[Ingest] = []
    yield open_ingest
    for ingest in ingests:
        ingest.close()
    await store.close()


def _last(ingest: Ingest, name: str = "train/loss") -> list[float]:
    return [float(value) for value in ingest.snapshot.columns.columns[name].statistic("", 4)]


async def test_a_message_that_comes_twice_counts_once(opened: Opener) -> None:
    ingest = opened(1)
    messages = [REGISTRATION, _points(1, 10), _values(2, [0, 1], [1.0, 2.0])]
    await ingest.take(messages)
    await ingest.take([REGISTRATION, _points(1, 10, position=77), _values(2, [0, 1], [1.0, 2.0])])
    assert ingest.curves.curves[KEY].count == 1
    assert ingest.snapshot.columns.value_version == 2
    assert ingest.counts.duplicates == 2


async def test_what_was_durable_is_there_and_the_rest_is_read_again(opened: Opener) -> None:
    first = opened(1)
    messages = [REGISTRATION, _points(1, 10), _values(2, [0, 0], [1.0, 3.0])]
    await first.take(messages)
    await first.save()
    await first.take([_points(3, 11), _values(4, [1], [5.0])])
    # No close and no snapshot: as after SIGKILL.
    second = opened(2)
    assert second.position <= 3
    for part in [part async for part in second.catalog_store.load()]:
        second.catalog.apply(part)
    await second.take([*messages, _points(3, 11), _values(4, [1], [5.0])])
    assert second.curves.curves[KEY].steps.tolist() == [10, 11]
    assert second.snapshot.columns.value_version == 3
    assert _last(second)[:2] == [3.0, 5.0]
    assert second.snapshot.columns.columns["train/loss"].statistic(".count", 4).tolist() == [2, 1, 0, 0]
    found = second.values.find(KEY, 5)
    assert found is not None
    assert found.rows.tolist() == [0, 0, 1]
    first.close()


async def test_values_that_come_before_their_registration_wait_for_it(opened: Opener) -> None:
    ingest = opened(1)
    await ingest.take([_values(1, [3], [7.0])])
    assert ingest.snapshot.columns.value_version == 0
    await ingest.take([REGISTRATION])
    assert _last(ingest)[3] == 7.0


async def test_what_waits_is_bounded_and_what_is_given_up_is_counted(opened: Opener) -> None:
    ingest = opened(1)
    await ingest.take([_values(sequence, [0], [1.0]) for sequence in range(1, MAX_WAITING + 4)])
    assert ingest.counts.dropped == 3


async def test_a_snapshot_never_skips_what_waits(opened: Opener) -> None:
    ingest = opened(1)
    await ingest.take([_values(5, [0], [1.0]), _points(9, 1)])
    await ingest.save()
    assert ingest.snapshot.position < 6


async def test_a_message_that_makes_no_sense_is_left_out_and_the_others_are_taken(opened: Opener) -> None:
    ingest = opened(1)
    broken = [
        Message(subjects.SIGNALS, b"\xff\xff\xff", 2),
        Message(subjects.SAMPLES, b"\x2a\x7f", 3),
        # The run "run" with a text for its sequence: the generated code makes a list of it.
        Message(subjects.SIGNALS, b"\x0a\x03run\x12\x01x", 3),
    ]
    await ingest.take([REGISTRATION, *broken, _values(4, [9], [1.0]), _values(5, [1], [2.0])])
    # No run has ever sent so many.
    await ingest.take([_points(1 << 40, 1), _values(1 << 40, [0], [1.0])])
    assert ingest.counts.refused == 6
    assert _last(ingest)[1] == 2.0
    ingest.close()
    assert len(opened(2).curves.curves) == 0, "what was left out is on disk"


async def test_audit_values_have_a_column_of_their_own(opened: Opener) -> None:
    ingest = opened(1)
    audit = _values(2, [0], [9.0], mode=Mode.AUDIT)
    await ingest.take([REGISTRATION, _values(1, [0], [1.0]), audit])
    assert _last(ingest)[0] == 1.0
    assert _last(ingest, "train/loss:audit")[0] == 9.0


async def test_a_damaged_snapshot_is_set_aside_and_its_values_are_read_again(opened: Opener, tmp_path: Path) -> None:
    first = opened(1)
    await first.take([REGISTRATION, _values(1, [0], [1.0])])
    await first.save()
    first.close()
    _flip_bit(tmp_path, "columns-*.snap", lambda content: len(content) // 2)
    second = opened(2)
    assert second.position == 0
    assert _names(tmp_path, "columns-*.damaged")
    await second.take([REGISTRATION, _values(1, [0], [1.0])])
    assert _last(second)[0] == 1.0


async def test_a_damaged_point_is_counted_and_the_others_stay(opened: Opener, tmp_path: Path) -> None:
    first = opened(1)
    await first.take([_points(sequence, sequence) for sequence in (1, 2, 3)])
    first.close()
    _flip_bit(tmp_path, "curves-*.log", lambda content: content.index(pack([2], I64) + pack([1.0], F64)))
    second = opened(2)
    assert second.curves.curves[KEY].steps.tolist() == [1, 3]
    assert second.damage.records == 1


async def test_on_a_full_disk_no_more_is_taken_and_nothing_is_lost(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(value_log, "CHUNK_ENTRIES", 2)
    ingest = opened(1)
    await ingest.take([REGISTRATION, _values(1, [0, 1], [1.0, 2.0], step=1)])
    kept = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, kept[1]))
    try:
        for _ in range(2):
            with pytest.raises(OSError, match="File too large"):
                await ingest.take([_values(2, [2], [3.0], step=2)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, kept)
    assert ingest.snapshot.columns.value_version == 2
    await ingest.take([_values(2, [2], [3.0], step=2)])
    ingest.close()
    again = opened(2)
    found = {step: again.values.find(KEY, step) for step in (1, 2)}
    assert [seen.rows.tolist() for seen in found.values() if seen] == [[0, 1], [2]]
    assert again.damage.records == 0


async def test_files_of_the_former_format_are_read_and_their_values_converted(opened: Opener, tmp_path: Path) -> None:
    shutil.copytree(FORMER, tmp_path, dirs_exist_ok=True)
    ingest = opened(2)
    assert ingest.curves.curves[KEY].steps.tolist() == [10]
    await ingest.take([REGISTRATION])
    ingest.convert_former()
    kept = [part.rows.tolist() for part in ingest.values.scan(KEY)]
    assert kept == [[0, 0, 2, 3]]
    # The stream still has what was converted, and something newer.
    await ingest.take([_values(2, [0, 2], [1.0, 3.0], step=5), _values(4, [1], [9.0], step=7)])
    ingest.close()
    again = opened(3)
    found = {step: again.values.find(KEY, step) for step in (5, 6, 7)}
    assert {step: dict(zip(seen.rows.tolist(), seen.values, strict=True)) for step, seen in found.items() if seen} == {
        5: {0: 1, 2: 3},
        6: {3: 4, 0: 2},
        7: {1: 9},
    }
    assert again.damage.records == 0
    assert not _names(tmp_path, "steps-*.log")
    assert not _names(tmp_path, "history")


async def test_nan_and_infinite_points_are_kept(opened: Opener) -> None:
    first = opened(1)
    column = SignalColumn(signal="train/loss", steps=pack([1, 2, 3], I64), values=pack([np.nan, np.inf, -np.inf], F64))
    batch = SignalBatch(run_id="run", sequence=1, branch="main", mode=Mode.TRAIN, columns=[column])
    await first.take([Message(subjects.SIGNALS, bytes(batch), 1)])
    first.close()
    second = opened(2)
    np.testing.assert_array_equal(second.curves.curves[KEY].values, [np.nan, np.inf, -np.inf])
