"""The query grammar: any text, as a viewer sends it, over a small frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from weightslab_ledger.catalog import Catalog
from weightslab_ledger.columns import Batch, ColumnTable
from weightslab_ledger.edits import EditState, Order
from weightslab_ledger.frame import Frame, frame_of
from weightslab_ledger.query import QueryError, evaluate
from weightslab_proto.weightslab.bus.v1 import SplitRegistration
from weightslab_proto.weightslab.v1 import EditOperation

UIDS = ["1", "2", "cab", "D"]


def _frame() -> Frame:
    catalog, columns, edits = Catalog(), ColumnTable(), EditState()
    registration = SplitRegistration(
        registration_id="r", split="train", sample_count=len(UIDS), uids=UIDS, complete=True
    )
    metadata: dict[str, NDArray[np.float64] | list[str]] = {"target": np.arange(4.0), "name": ["a", "b", "a", "日本"]}
    part = catalog.plan(registration, metadata)
    assert part
    catalog.apply(part)
    rows = np.arange(4, dtype=np.uint32)
    batch = Batch(rows, np.ones(4, dtype=np.int64), np.zeros(4, dtype=np.uint32), 4)
    columns.update("train/loss", batch, np.array([0.5, 3, np.nan, np.inf], dtype=np.float32))
    edits.apply(edits.plan(Order("a", "", EditOperation.ADD_TAG, "hard", rows[1:3], 0)))
    edits.apply(edits.plan(Order("b", "", EditOperation.DISCARD, "", rows[2:3], 0)))
    return frame_of(catalog, columns, edits)


_FRAME = _frame()


def attack(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    try:
        mask = evaluate(text, _FRAME)
    except QueryError as error:
        assert 0 <= error.position <= len(text), f"position {error.position} in a query of {len(text)} characters"
        return
    assert mask.shape == (4,), mask.shape
    assert mask.dtype == bool, mask.dtype


def seeds() -> list[bytes]:
    return [
        text.encode()
        for text in (
            'loss > 2 and tag("hard") and not discarded',
            '`train/loss` > 0.5 or split == "val" and target in (3, 8)',
            "0 < abs(-loss + 2 * target / 3) <= 1e3",
            "isnan(loss) or isinf(loss) or between(target, 1, 2)",
            "contains(lower(name), '日') and uid not in ('1', \"cab\")",
            "loss.count >= 1 and loss.mean != inf",
            "((((((((target == 1))))))))",
        )
    ]
