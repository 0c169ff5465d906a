"""The values of each epoch: exact, durable with the snapshot, bounded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from weightslab_ledger.history import History
from weightslab_ledger.slices import Seen
from weightslab_ledger.trajectories import by_epoch, by_step

ROWS = np.arange(4, dtype=np.uint32)


def _put(history: History, epoch: int, values: list[float], *, branch: str = "main", row_count: int = 4) -> None:
    column = np.array(values, dtype=np.float32)
    epochs = np.full(len(column), epoch, dtype=np.uint32)
    rows = np.arange(len(column), dtype=np.uint32)
    history.put("train/loss", branch, rows=rows, epochs=epochs, values=column, row_count=row_count)


def _values(history: History) -> dict[tuple[str, int], list[float]]:
    found = history.values("train/loss", ROWS, branches=set())
    return {(place.branch, place.epoch): np.nan_to_num(part, nan=-1).tolist() for place, part in found}


def test_values_are_kept_by_branch_and_epoch_and_nan_is_none(tmp_path: Path) -> None:
    history = History(tmp_path, 1 << 20)
    _put(history, 0, [1, 2, 3, np.inf])
    _put(history, 1, [5, np.nan, 0])
    _put(history, 1, [7], branch="second", row_count=9)
    _put(history, 1, [6], row_count=20)
    assert _values(history) == {
        ("main", 0): [1, 2, 3, np.finfo(np.float32).max],
        ("main", 1): [6, -1, 0, -1],
        ("second", 1): [7, -1, -1, -1],
    }
    history.close()
    again = History(tmp_path, 1 << 20)
    again.load()
    assert _values(again).keys() == {("main", 0), ("main", 1), ("second", 1)}
    _put(again, 1, [8], row_count=20)
    assert _values(again)["main", 1] == [8, -1, 0, -1]
    again.close()


def test_the_oldest_epochs_go_beyond_the_bound(tmp_path: Path) -> None:
    history = History(tmp_path, 64)
    for epoch in range(6):
        _put(history, epoch, [epoch] * 4)
    assert sorted(_values(history)) == [("main", epoch) for epoch in (2, 3, 4, 5)]
    assert (history.dropped_count, history.size_bytes) == (2, 64)
    history.close()


def test_one_message_may_hold_several_epochs(tmp_path: Path) -> None:
    history = History(tmp_path, 1 << 20)
    epochs = np.array([0, 0, 1, 1], dtype=np.uint32)
    values: NDArray[np.float32] = np.array([1, 2, 3, 4], dtype=np.float32)
    history.put("train/loss", "main", rows=ROWS, epochs=epochs, values=values, row_count=4)
    assert _values(history) == {("main", 0): [1, 2, -1, -1], ("main", 1): [-1, -1, 3, 4]}
    found = by_epoch(history.values("train/loss", ROWS[[3, 0]], branches={"main"}), 2)
    assert [(part.sample, part.positions.tolist(), part.values.tolist()) for part in found] == [
        (0, [1], [4]),
        (1, [0], [1]),
    ]
    history.close()


def test_a_trajectory_by_steps_takes_the_last_value_of_a_step() -> None:
    def seen(rows: list[int], steps: list[int], values: list[float]) -> Seen:
        return Seen(np.array(rows, dtype=np.uint32), np.array(steps), np.array(values, dtype=np.float32))

    parts = [seen([0, 1, 0], [5, 5, 3], [1, 2, 3]), seen([0, 2, 0], [5, 5, 9], [4, 5, np.nan])]
    found = by_step([("main", parts)], np.array([2, 0, 3], dtype=np.uint32), 4)
    assert [(part.sample, part.positions.tolist(), part.values.tolist()) for part in found] == [
        (0, [5], [5]),
        (1, [3, 5], [3, 4]),
    ]
