"""What the records of one drain say: the same, whether they are folded together or one by one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from weightslab.derivation import Columns, CrossEntropyTerms, classification
from weightslab.fold import Fold
from weightslab.records import AUDIT_MODE, TRAIN_MODE, Batch, Moment, Record
from weightslab.split import Catalog, Split
from weightslab_common.columns import F32, F64, I64, U32, unpack

CLASSES = 3
SPLITS = [Split(Catalog(name, tuple(map(str, range(32))), (), (), "none", 0, name), None) for name in ("train", "val")]


def _derive(columns: dict[str, Any]) -> Columns:
    return classification(columns["logits"], columns["targets"], terms=CrossEntropyTerms(), loss_name="loss")


def _records(seed: int, kinds: Sequence[str]) -> list[Record]:
    """One record of each kind, at one step after the other."""
    numbers = np.random.default_rng(seed)
    records = []
    for step, kind in enumerate(kinds):
        split = SPLITS[kind == "val"]
        count = int(numbers.integers(1, 6))
        batch = Batch(split, numbers.choice(32, count, replace=False).astype(np.uint32), epoch=step // 3)
        mode = AUDIT_MODE if kind == "audit" else TRAIN_MODE
        signal, result = f"{split.name}/loss", float(numbers.normal())
        columns: dict[str, NDArray[Any]] = {
            "logits": numbers.normal(size=(count, CLASSES)).astype(np.float32),
            "targets": numbers.integers(0, CLASSES, count),
        }
        if kind == "not finite":
            columns["logits"][0, 0] = np.nan
        if kind == "faulty":
            columns["targets"][0] = CLASSES
        if kind == "wide":
            columns["logits"] = np.pad(columns["logits"], ((0, 0), (0, 2)))
        record = Record(Moment("main", mode, step), signal, result, batch, columns, _derive, ready=None)
        if kind == "given":
            record = record._replace(columns={"loss": columns["logits"][:, 0]}, derive=None)
        if kind == "point":
            record = record._replace(batch=None, columns={}, derive=None)
        records.append(record)
    return records


def _told(folds: Sequence[Fold]) -> tuple[dict[Any, list[Any]], dict[Any, list[Any]]]:
    """Points by branch, mode and signal; values with sample, step and epoch by branch, mode, split and signal."""
    points: dict[Any, list[Any]] = defaultdict(list)
    values: dict[Any, list[Any]] = defaultdict(list)
    for fold in folds:
        for curves in fold.signal_batches():
            for curve in curves.columns:
                columns = (unpack(curve.steps, I64), unpack(curve.values, F64), unpack(curve.deviations, F64))
                points[curves.branch, int(curves.mode), curve.signal] += zip(
                    *(c.tolist() for c in columns), strict=True
                )
        for batch in fold.value_batches():
            rows = [unpack(batch.positions, U32), unpack(batch.steps, I64), unpack(batch.epochs, U32)]
            for column in batch.columns:
                told = zip(*(each.tolist() for each in (*rows, unpack(column.values, F32))), strict=True)
                values[batch.branch, int(batch.mode), batch.split, column.signal] += told
    return points, values


KINDS = st.sampled_from(["train", "train", "train", "val", "audit", "not finite", "faulty", "wide", "given", "point"])


@given(seed=st.integers(0, 2**32), kinds=st.lists(KINDS, min_size=1, max_size=24))
def test_records_say_the_same_together_and_one_by_one(seed: int, kinds: list[str]) -> None:
    records = _records(seed, kinds)
    points, values = _told([Fold(records)])
    points_alone, values_alone = _told([Fold([record]) for record in records])
    assert points.keys() == points_alone.keys()
    for key, told in points.items():
        np.testing.assert_allclose(told, points_alone[key], rtol=1e-6, atol=1e-7)
    assert values.keys() == values_alone.keys()
    for key, told in values.items():
        # Values of one signal that come in several messages are of other columns; each kind keeps its order.
        np.testing.assert_array_equal(sorted(map(repr, told)), sorted(map(repr, values_alone[key])))
        by_step = [step for _, step, _, _ in told]
        if not {"given", "faulty"} & set(kinds):
            assert by_step == sorted(by_step)


def test_what_was_handed_off_at_many_steps_is_derived_at_once() -> None:
    calls = []

    def derive(columns: dict[str, Any]) -> Columns:
        calls.append(len(columns["targets"]))
        return _derive(columns)

    records = [record._replace(derive=derive) for record in _records(1, ["train"] * 16)]
    Fold(records)
    assert calls == [sum(len(record.batch.positions) for record in records if record.batch)]


def test_a_fault_costs_the_values_of_its_record_only(caplog: pytest.LogCaptureFixture) -> None:
    records = _records(2, ["train", "faulty", "train"])
    points, values = _told([Fold(records)])
    assert [step for step, *_ in points["main", TRAIN_MODE, "train/loss"]] == [0, 1, 2]
    assert np.isnan([deviation for *_, deviation in points["main", TRAIN_MODE, "train/loss"]]).tolist() == [0, 1, 0]
    assert {step for _, step, *_ in values["main", TRAIN_MODE, "train", "train/margin"]} == {0, 2}
    assert "could not be derived" in caplog.text


@pytest.mark.parametrize(
    "spoil", [lambda column: column[:-1], lambda column: np.append(column, 1)], ids=["less", "more"]
)
def test_values_that_are_not_one_per_sample_are_left_out(spoil: Callable[..., Any]) -> None:
    (record,) = _records(3, ["given"])
    _, values = _told([Fold([record._replace(columns={"loss": spoil(record.columns["loss"])})])])
    assert not values


def test_a_point_tells_the_deviation_of_its_samples() -> None:
    records = _records(4, ["given"] * 5)
    told = _told([Fold(records)])[0]["main", TRAIN_MODE, "train/loss"]
    expected = [record.columns["loss"].std(dtype=np.float64) for record in records]
    np.testing.assert_allclose([deviation for *_, deviation in told], expected, rtol=1e-12)


class _Output(NamedTuple):
    output: torch.Tensor
    loss: torch.Tensor


@pytest.mark.parametrize(
    "returned",
    [{"a": 1.0}, "a text", [], _Output(torch.ones(2, requires_grad=True), torch.ones((), requires_grad=True))],
)
def test_what_is_no_number_makes_no_curve_and_costs_the_others_nothing(
    returned: Any, caplog: pytest.LogCaptureFixture
) -> None:
    odd = Record(Moment("main", TRAIN_MODE, 3), "val/odd", returned, None, {}, None, ready=None)
    records = _records(1, ["train", "train"])
    assert _told([Fold([records[0], odd, records[1]])]) == _told([Fold(records)])
    assert "val/odd returned a" in caplog.text
