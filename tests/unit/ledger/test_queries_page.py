"""Every example of docs/queries.md means something, and every refusal there is one."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from weightslab_ledger.catalog import Catalog
from weightslab_ledger.columns import STATISTICS, Batch, ColumnTable
from weightslab_ledger.edits import EditState, Order
from weightslab_ledger.frame import Frame, frame_of
from weightslab_ledger.query import FUNCTIONS, QueryError, evaluate
from weightslab_ledger.scores import SCORES
from weightslab_proto.weightslab.v1 import EditOperation

from tests.unit.ledger.trainers import registration

PAGE = (Path(__file__).parents[3] / "docs" / "queries.md").read_text()
COUNT = 40


def _snippets(kind: str) -> list[str]:
    blocks = re.findall(rf"```{kind}\n(.*?)```", PAGE, flags=re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def _frame() -> Frame:
    catalog, columns, edits = Catalog(), ColumnTable(), EditState()
    uids = [str(i) for i in range(COUNT // 2)]
    for split in ("train", "val"):
        cameras = ["front", "rear", "side", "roof"] * 5
        part = catalog.plan(registration(split, uids), {"target": np.arange(20.0) % 10, "camera": cameras})
        assert part
        catalog.apply(part)
    rows = np.arange(COUNT, dtype=np.uint32)
    for epoch, scale in enumerate((0.5, 4.0)):
        for name, mine in (("train/loss", rows[1:20]), ("val/loss", rows[20:]), ("train/correct", rows[:20])):
            values = mine.astype(np.float32) * scale / 10
            if name.endswith("correct"):
                values = ((mine + epoch) % 2).astype(np.float32)
            elif epoch:
                values[-1] = np.inf
            epochs = np.full(len(mine), epoch, dtype=np.uint32)
            columns.update(name, Batch(mine, np.full(len(mine), epoch), epochs, COUNT), values.astype(np.float32))
    for number, (operation, tag) in enumerate(((EditOperation.ADD_TAG, "hard"), (EditOperation.DISCARD, ""))):
        edits.apply(edits.plan(Order(str(number), "", operation, tag, rows[number:30:3], 0)))
    return frame_of(catalog, columns, edits)


FRAME = _frame()


@pytest.mark.parametrize("query", _snippets("query"))
def test_an_example_matches_some_samples(query: str) -> None:
    matched = int(evaluate(query, FRAME).sum())
    assert 0 < matched <= COUNT
    assert matched < COUNT or query == "true"


@pytest.mark.parametrize("query", _snippets("refused"))
def test_an_example_of_a_refusal_is_refused(query: str) -> None:
    with pytest.raises(QueryError):
        evaluate(query, FRAME)


@pytest.mark.parametrize("name", [*FUNCTIONS, *SCORES, *filter(None, STATISTICS)])
def test_everything_a_query_knows_is_on_the_page(name: str) -> None:
    assert f"`{name}`" in PAGE or f"{name}(" in PAGE
