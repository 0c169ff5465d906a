"""Values of samples are found by step and by sample, whether they wait in memory or are on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from weightslab_common import calls
from weightslab_common.errors import DeadlineExceeded
from weightslab_ledger.chunks import Entries, selection_of
from weightslab_ledger.curves import Key
from weightslab_ledger.segments import Segments
from weightslab_ledger.trajectories import trajectories
from weightslab_ledger.value_log import Series, ValueLog

SERIES = Series("main", 1, ("train/loss", "train/confidence"))
LOSS, CONFIDENCE = Key("train/loss", "main", 1), Key("train/confidence", "main", 1)


def _opened(folder: Path, *, token: int = 1, keep_bytes: int = 1 << 20, file_bytes: int = 1 << 20) -> ValueLog:
    log = ValueLog(Segments(folder, "values", token=token, max_bytes=file_bytes), keep_bytes)
    log.load()
    log.segments.open()
    return log


def _append(
    log: ValueLog,
    sequence: int,
    rows: list[int],
    losses: list[float],
    *,
    step: int,
    epoch: int = 0,
    series: Series = SERIES,
) -> None:
    count = len(rows)
    loss = np.array(losses, dtype=np.float32)
    entries = Entries(
        np.array(rows, dtype=np.uint32),
        np.full(count, step, dtype=np.int64),
        np.full(count, epoch, dtype=np.uint32),
        tuple(loss * (number + 1) for number in range(len(series.signals))),
    )
    log.append(series, entries, run_id="run", sequence=sequence)


def _found(log: ValueLog, step: int, key: Key = LOSS) -> tuple[int, dict[int, float]] | None:
    found = log.find(key, step)
    return None if found is None else (int(found.steps[0]), dict(zip(found.rows.tolist(), found.values, strict=True)))


def _fill(log: ValueLog) -> None:
    _append(log, 1, [2, 0], [1, 2], step=5)
    log.flush()
    _append(log, 2, [1, 2], [3, np.nan], step=6)
    log.flush()
    _append(log, 3, [0], [4], step=6, epoch=1)
    _append(log, 4, [3], [5], step=9, epoch=1)


@pytest.mark.parametrize("again", [False, True])
def test_a_step_has_its_samples_in_memory_and_on_disk(tmp_path: Path, again: bool) -> None:
    log = _opened(tmp_path)
    _fill(log)
    if again:
        log.close()
        log = _opened(tmp_path, token=2)
    assert _found(log, 4) is None
    assert _found(log, 5) == (5, {0: 2, 2: 1})
    assert _found(log, 8) == (6, {0: 4, 1: 3})
    assert _found(log, 99, CONFIDENCE) == (9, {3: 10})
    assert log.step_range(LOSS) == (5, 9)
    assert log.keys() == [CONFIDENCE, LOSS]
    assert all(("run", sequence) in log.seen for sequence in (1, 2, 3, 4))
    log.close()


def test_trajectories_come_from_memory_and_disk_by_epoch_and_step(tmp_path: Path) -> None:
    log = _opened(tmp_path)
    _fill(log)
    _append(log, 5, [0, 0], [7, 8], step=9, epoch=1)
    rows = np.array([2, 0, 7], dtype=np.uint32)

    def asked(*, by_epoch: bool) -> list[tuple[int, list[int], list[float]]]:
        seen = [("main", log.scan(LOSS, wanted=selection_of(rows)))]
        found = trajectories(seen, rows, by_epoch=by_epoch)
        return [(part.sample, part.positions.tolist(), part.values.tolist()) for part in found]

    # NaN is no value; the last of several values counts.
    for _ in range(2):
        assert asked(by_epoch=True) == [(0, [0], [1]), (1, [0, 1], [2, 8])]
        assert asked(by_epoch=False) == [(0, [5], [1]), (1, [5, 6, 9], [2, 4, 8])]
        log.flush()
    log.close()


def test_a_flipped_bit_costs_its_chunk_only_and_is_found_without_being_asked_for(tmp_path: Path) -> None:
    log = _opened(tmp_path)
    for step in range(3):
        _append(log, step + 1, [0, 1], [step, step + 0.5], step=step)
        log.flush()
    log.close()
    (path,) = tmp_path.glob("values-*.log")
    content = bytearray(path.read_bytes())
    content[content.index(np.array([1, 1.5], dtype=np.float32).tobytes())] ^= 4
    path.write_bytes(content)
    again = _opened(tmp_path, token=2)
    assert again.damage.records == 0
    while again.check_next():
        pass
    assert (again.damage.records, again.damage.bytes > 0) == (1, True)
    assert [_found(again, step) for step in range(3)] == [(0, {0: 0, 1: 0.5}), (0, {0: 0, 1: 0.5}), (2, {0: 2, 1: 2.5})]
    again.close()


def test_damage_is_found_by_whoever_asks_first(tmp_path: Path) -> None:
    log = _opened(tmp_path)
    _append(log, 1, [0], [3], step=1)
    log.close()
    (path,) = tmp_path.glob("values-*.log")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    again = _opened(tmp_path, token=2)
    assert list(again.scan(LOSS)) == []
    assert (again.damage.records, again.keys()) == (1, [])
    again.close()


def test_a_flipped_bit_in_a_header_costs_its_chunk_only(tmp_path: Path) -> None:
    log = _opened(tmp_path)
    for step in range(3):
        _append(log, step + 1, [step], [step], step=step)
        log.flush()
    log.close()
    (path,) = tmp_path.glob("values-*.log")
    content = bytearray(path.read_bytes())
    at = [i for i in range(len(content)) if content.startswith(b'"first":', i)][1]
    content[at + len(b'"first":')] ^= 1
    path.write_bytes(content)
    again = _opened(tmp_path, token=2)
    assert again.damage.records == 1
    assert [part.rows.tolist() for part in again.scan(LOSS)] == [[0], [2]]
    again.close()


def test_the_oldest_chunks_go_beyond_the_bound(tmp_path: Path) -> None:
    log = _opened(tmp_path, keep_bytes=4000, file_bytes=500)
    for step in range(60):
        _append(log, step + 1, [0, 1], [step, step], step=step)
        log.flush()
    first, last = log.step_range(LOSS) or (0, 0)
    assert first > 0
    assert last == 59
    assert log.segments.truncated
    assert [part.steps[0] for part in log.scan(LOSS)] == list(range(first, 60))
    assert sum(path.stat().st_size for path in tmp_path.glob("values-*.log")) < 5500
    log.close()


async def test_reading_stops_when_nobody_waits_for_it(tmp_path: Path) -> None:
    log = _opened(tmp_path)
    for step in range(3):
        _append(log, step + 1, [0], [step], step=step)
        log.flush()
    known = calls.Calls()

    async def read() -> list[int]:
        found = []
        for part in log.scan(LOSS):
            found += part.steps.tolist()
            if found == [0, 1] and leaves:
                known.left("somebody")
        return found

    for leaves in (False, True):
        answer = calls.answer(known.begin({calls.CALL_HEADER: "somebody"}), read, may_stop=False)
        if leaves:
            with pytest.raises(DeadlineExceeded, match="nobody waits"):
                await answer
        else:
            assert await answer == [0, 1, 2]
    log.close()


def test_values_that_come_in_other_company_are_one_curve(tmp_path: Path) -> None:
    log = _opened(tmp_path)
    _append(log, 1, [0], [1], step=1)
    _append(log, 2, [1], [2], step=2, series=Series("main", 1, ("train/loss",)))
    _append(log, 3, [2], [3], step=3, series=Series("other", 1, ("train/loss",)))
    for _ in range(2):
        assert sorted(part.rows.tolist() for part in log.scan(LOSS)) == [[0], [1]]
        log.flush()
    log.close()
