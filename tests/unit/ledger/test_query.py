"""Queries: what they mean, and what is said of those that mean nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from weightslab_ledger.catalog import Catalog
from weightslab_ledger.columns import Batch, ColumnTable
from weightslab_ledger.edits import EditState, Order
from weightslab_ledger.frame import Frame, frame_of
from weightslab_ledger.query import MAX_DEPTH, QueryError, evaluate
from weightslab_proto.weightslab.v1 import EditOperation

from tests.unit.ledger.trainers import registration

UIDS = ["1", "2", "cab", "D"]


def _batch(rows: NDArray[np.uint32]) -> Batch:
    return Batch(rows, np.ones(len(rows), dtype=np.int64), np.zeros(len(rows), dtype=np.uint32), 6)


def _frame() -> Frame:
    catalog, columns, edits = Catalog(), ColumnTable(), EditState()
    for split in ("train", "val"):
        uids = UIDS if split == "train" else UIDS[:2]
        metadata: dict[str, NDArray[np.float64] | list[str]] = {
            "target": np.arange(len(uids), dtype=np.float64),
            "name": [f"n{uid}" for uid in uids],
        }
        part = catalog.plan(registration(split, uids), metadata)
        assert part
        catalog.apply(part)
    rows = np.arange(4, dtype=np.uint32)
    columns.update("train/loss", _batch(rows), np.array([0.5, 3, np.nan, np.inf], dtype=np.float32))
    columns.update("val/acc", _batch(rows[:2] + np.uint32(4)), np.array([1, 0], dtype=np.float32))
    edits.apply(edits.plan(Order("a", "", EditOperation.ADD_TAG, "hard", rows[1:3], 0)))
    edits.apply(edits.plan(Order("b", "", EditOperation.DISCARD, "", rows[2:3], 0)))
    return frame_of(catalog, columns, edits)


FRAME = _frame()


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("", [0, 1, 2, 3, 4, 5]),
        ('loss > 2 and tag("hard") and not discarded', [1]),
        ("`train/loss` > 0.5", [1, 3]),
        ("loss.count >= 1", [0, 1, 3]),
        ('split == "train"', [0, 1, 2, 3]),
        ("split != 'train'", [4, 5]),
        ('uid in ("1", "cab")', [0, 2, 4]),
        ("target not in (0, 1, -1)", [2, 3]),
        ("target == 3", [3]),
        ("isnan(loss)", [2, 4, 5]),
        ("isinf(loss)", [3]),
        ('contains(uid, "a")', [2]),
        ('startswith(lower(uid), "d")', [3]),
        ('endswith(name, "b")', [2]),
        ("0 < target <= 2", [1, 2, 5]),
        ("between(target, 1, 2)", [1, 2, 5]),
        ("target * 2 - 1 == 1 or -target == -3", [1, 3, 5]),
        ("1 - 2 - 3 == -4", [0, 1, 2, 3, 4, 5]),
        ("target / 0 > 1", [1, 2, 3, 5]),
        ("loss != 0.5", [1, 3]),
        ("not loss == 0.5", [1, 2, 3, 4, 5]),
        ('tag("nobody has it")', []),
        ("tagged", [1, 2]),
        ("discarded == true", [2]),
        ("abs(target - 3) < 1", [3]),
        ("false", []),
        ("uid == name", []),
        ("(((acc == 1)))", [4]),
        ("row >= 4", [4, 5]),
    ],
)
def test_a_query_matches(query: str, rows: list[int]) -> None:
    assert np.flatnonzero(evaluate(query, FRAME)).tolist() == rows


@pytest.mark.parametrize(
    ("query", "position", "text"),
    [
        ("loss >", 6, "found the end where .*a number"),
        ("loss = 3", 5, "equality is written `==`"),
        ("loss > 2 or", 11, "found the end"),
        ("(loss > 2", 9, "'\\)'"),
        ("loss > 'a'", 7, "a text cannot be compared with a number"),
        ("loss", 0, "a query must be true or false"),
        ("12", 0, "this is a number"),
        ("nothing > 1", 0, "there is no column 'nothing'; there are: uid"),
        ("train/loss > 1", 0, "there is no column 'train'"),
        ("loss > 2 and uid < 'a'", 13, "by == and != only"),
        ("tag(hard)", 4, "there is no column 'hard'"),
        ("tag(3)", 4, "this is a number where a text was expected"),
        ("tag()", 0, "takes 1 arguments"),
        ("system('x')", 0, "there is no function 'system'"),
        ("__import__('os').x", 16, "found '.x'|found '.'"),
        ("uid == 'abc", 7, "is not closed"),
        ("not " * 60 + "true", 200, f"nested deeper than {MAX_DEPTH}"),
        ("(" * 60 + "true" + ")" * 60, 50, f"nested deeper than {MAX_DEPTH}"),
        ("1 == 1 or " * 201, 2000, "at most 2000 characters"),
        ("target in ()", 11, "found '\\)'"),
    ],
)
def test_an_error_says_where_and_what(query: str, position: int, text: str) -> None:
    with pytest.raises(QueryError, match=text) as caught:
        evaluate(query, FRAME)
    assert caught.value.position == position


def _two_losses(*names: str) -> Frame:
    columns = ColumnTable()
    for number, name in enumerate(names):
        columns.update(name, _batch(np.arange(6, dtype=np.uint32)), np.arange(6, dtype=np.float32) + 10 * number)
    return frame_of(FRAME.catalog, columns, EditState())


def test_a_short_name_means_the_column_of_the_samples_own_split() -> None:
    frame = _two_losses("train/loss", "val/loss")
    assert frame.column("loss").tolist() == [0, 1, 2, 3, 14, 15]  # type: ignore[union-attr]
    assert np.flatnonzero(evaluate("loss > 2", frame)).tolist() == [3, 4, 5]
    assert np.flatnonzero(evaluate("loss.count == 1", frame)).tolist() == [0, 1, 2, 3, 4, 5]
    assert frame.values_at("loss", np.array([5, 0], dtype=np.uint32)).tolist() == [15, 0]  # type: ignore[union-attr]


def test_a_short_name_of_several_splits_is_described() -> None:
    described = {info.name: info for info in _two_losses("train/loss", "val/loss").describe_short_names()}
    assert (described["loss"].group, described["loss"].description) == (
        "signal",
        "of each sample the value of its own split: train/loss, val/loss",
    )
    assert list(FRAME.describe_short_names()) == []


def test_a_short_name_that_no_split_has_lists_what_it_could_be() -> None:
    with pytest.raises(QueryError, match="could be one of `a/loss`, `b/loss`"):
        evaluate("loss > 0", _two_losses("a/loss", "b/loss"))


TOKENS = st.sampled_from(
    ["loss", "uid", "tag", "(", ")", "'a'", '"b"', "1", "-", "+", "*", "/", "==", "<", "in", "not", "and", "or", ",",
     "`train/loss`", "true", "contains", "isnan", "lower", ".5", "1e400", "name", "discarded", "!", "`", "'"]
)  # fmt: skip


@given(st.one_of(st.lists(TOKENS, max_size=14).map(" ".join), st.text(max_size=40)))
def test_any_text_is_a_mask_or_our_error(query: str) -> None:
    try:
        mask = evaluate(query, FRAME)
    except QueryError as error:
        assert 0 <= error.position <= len(query)
        return
    assert mask.dtype == bool
    assert mask.shape == (6,)
