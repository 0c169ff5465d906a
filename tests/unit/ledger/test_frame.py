"""What a page shows of some samples is what the whole columns say of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from weightslab_ledger.catalog import Catalog
from weightslab_ledger.columns import Batch, ColumnTable
from weightslab_ledger.edits import EditState, Order
from weightslab_ledger.frame import Frame, frame_of
from weightslab_ledger.metadata import TextValues
from weightslab_proto.weightslab.v1 import EditOperation

from tests.unit.ledger.trainers import registration

# More than arrays have room for from the start.
COUNT = 1500


def _frame() -> Frame:
    """Half of the samples came after the values and the tags of the others."""
    catalog, columns, edits = Catalog(), ColumnTable(), EditState()
    for split in ("train", "val"):
        metadata: dict[str, NDArray[np.float64] | list[str]] = {
            "target": np.arange(COUNT, dtype=np.float64),
            "camera": [f"c{row % 3}" for row in range(COUNT)],
        }
        part = catalog.plan(registration(split, [str(row) for row in range(COUNT)]), metadata)
        assert part
        catalog.apply(part)
        if split == "train":
            rows = np.arange(COUNT - 10, dtype=np.uint32)
            for epoch in range(3):
                batch = Batch(rows, np.full(len(rows), epoch), np.full(len(rows), epoch, dtype=np.uint32), COUNT)
                for name in ("train/loss", "train/correct", "train/margin"):
                    columns.update(name, batch, np.sin(rows + epoch).astype(np.float32))
            edits.apply(edits.plan(Order("a", "", EditOperation.ADD_TAG, "hard", rows[::7], 0)))
            edits.apply(edits.plan(Order("b", "", EditOperation.ADD_TAG, "easy", rows[:20], 0)))
    return frame_of(catalog, columns, edits)


FRAME = _frame()
ROWS = np.array([0, 7, COUNT - 1, 5, COUNT, 2 * COUNT - 1, 7], dtype=np.uint32)


def test_some_values_of_a_column_are_those_of_the_column() -> None:
    names = [info.name for info in FRAME.describe()]
    assert {"train/loss", "train/loss.mean", "train/label_issue", "train/forgetting", "camera"} <= set(names)
    for name in names:
        for rows in (ROWS, ROWS[:0]):
            some, whole = FRAME.values_at(name, rows), FRAME.column(name)
            if isinstance(whole, TextValues):
                assert isinstance(some, TextValues)
                assert some.texts() == [whole.categories[code] for code in whole.codes[rows].tolist()]
            else:
                np.testing.assert_array_equal(some, whole[rows], err_msg=name)


def test_the_tags_of_some_samples_are_those_of_all() -> None:
    assert [name for name, _ in FRAME.tags_at(ROWS)] == ["easy", "hard"]
    for name, held in FRAME.tags_at(ROWS):
        assert held.tolist() == FRAME.tag(name)[ROWS].tolist()
        assert held.any()
    tagged = FRAME.column("tagged")
    assert isinstance(tagged, np.ndarray)
    assert np.flatnonzero(tagged).tolist() == np.flatnonzero(FRAME.tag("hard") | FRAME.tag("easy")).tolist()
