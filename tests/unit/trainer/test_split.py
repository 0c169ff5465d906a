"""What a split registers."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Subset, TensorDataset
from weightslab.registration import registrations
from weightslab.split import (
    Catalog,
    MetadataColumn,
    Split,
    class_names_of,
    metadata_columns,
    registration_id,
    targets_of,
    uids_of,
)
from weightslab_common.bus import PAYLOAD_TARGET_BYTES
from weightslab_common.columns import F64, unpack
from weightslab_common.errors import InvalidArgument

from tests.unit.trainer.runs import Numbered, split_of


def test_uids_are_the_index_or_what_is_given() -> None:
    assert uids_of(Numbered(3), None) == ("0", "1", "2")
    assert uids_of(Numbered(3), ["a", "b", 7]) == ("a", "b", "7")
    assert uids_of(Numbered(3), lambda index: f"scan {index}") == ("scan 0", "scan 1", "scan 2")


def test_a_subset_names_its_samples_as_the_whole_does() -> None:
    subset = Subset(Subset(Numbered(10), [9, 4, 2]), [2, 0])
    assert uids_of(subset, None) == ("2", "9")
    targets = targets_of(subset)
    assert targets is not None
    assert targets.tolist() == [2, 0]


def test_missing_and_double_uids_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="2 uids were given for a dataset of 3 samples"):
        uids_of(Numbered(3), ["a", "b"])
    with pytest.raises(InvalidArgument, match="'a' names more than one"):
        uids_of(Numbered(3), ["a", "b", "a"])


def test_targets_are_found_without_reading_a_sample() -> None:
    found = targets_of(TensorDataset(torch.rand(3, 2), torch.tensor([4, 5, 6])))
    assert found is not None
    assert found.tolist() == [4, 5, 6]
    assert targets_of(TensorDataset(torch.rand(3, 2), torch.rand(3, 8, 8))) is None
    assert targets_of(TensorDataset(torch.rand(3, 2))) is None


def test_masks_are_no_targets_and_are_not_copied_to_find_out() -> None:
    masks = torch.zeros(10, 64, 64, dtype=torch.uint8)
    tracemalloc.start()
    assert targets_of(TensorDataset(torch.zeros(10, 1), masks)) is None
    assert tracemalloc.get_traced_memory()[1] < masks.nbytes
    tracemalloc.stop()


def test_class_names_come_from_the_argument_or_the_dataset() -> None:
    dataset = Numbered(2)
    dataset.classes = ["cat", "dog"]  # type: ignore[attr-defined]
    assert class_names_of(Subset(dataset, [0]), None) == ("cat", "dog")
    assert class_names_of(dataset, ["x"]) == ("x",)


def test_metadata_is_numbers_or_texts_and_must_have_one_value_per_sample() -> None:
    columns = metadata_columns(2, targets=np.array([1.0, 2.0]), given={"site": ["a", "b"], "age": [3, 4]})
    assert [(column.name, column.numbers is not None) for column in columns] == [
        ("target", True),
        ("site", False),
        ("age", True),
    ]
    with pytest.raises(InvalidArgument, match="'site' has 1 values for 2 samples"):
        metadata_columns(2, targets=None, given={"site": ["a"]})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([1, None, 2.5], [1.0, float("nan"), 2.5]),
        ([True, False, True], [1.0, 0.0, 1.0]),
        ([np.float32(1.5), np.int64(2), np.bool_(True)], [1.5, 2.0, 1.0]),
        ([torch.tensor(1.0), torch.tensor(2), torch.tensor(3)], [1.0, 2.0, 3.0]),
        (np.array([1, 2, None], dtype=object), [1.0, 2.0, float("nan")]),
        (torch.arange(3), [0.0, 1.0, 2.0]),
        (["a", None, float("nan")], ("a", "", "")),
        ([None, None, None], ("", "", "")),
        ([[1], [2, 3], []], ("[1]", "[2, 3]", "[]")),
        (["1", "2", "3"], ("1", "2", "3")),
        (np.array(["a", "b", "c"]), ("a", "b", "c")),
        ([1, "b", 2], ("1", "b", "2")),
        (["a" * 20_000, "b", "c"], ("a" * 10_000, "b", "c")),
    ],
)
def test_metadata_may_miss_values_and_hold_anything(given: Any, expected: Any) -> None:
    (column,) = metadata_columns(3, targets=None, given={"it": given})
    if column.numbers is None:
        assert column.texts == expected
    else:
        np.testing.assert_array_equal(column.numbers, expected)


def test_a_long_text_does_not_make_room_for_its_length_in_every_sample() -> None:
    texts = ["x" * 100_000, *["short"] * 999]
    tracemalloc.start()
    metadata_columns(1000, targets=None, given={"caption": texts})
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_the_same_dataset_registers_the_same_way_and_another_does_not() -> None:
    first = registration_id("train", ("0", "1"), ())
    assert first == registration_id("train", ("0", "1"), ())
    assert first != registration_id("val", ("0", "1"), ())
    assert first != registration_id("train", ("01", ""), ())
    assert first != registration_id("train", ("0", "1"), (MetadataColumn("a", texts=("x", "y")),))


def test_a_large_registration_comes_in_parts_without_a_gap() -> None:
    count = 30_000
    uids = tuple(f"scan-{index:030d}" for index in range(count))
    columns = (
        MetadataColumn("target", numbers=np.arange(count, dtype=np.float64)),
        MetadataColumn("site", texts=tuple(str(index % 7) for index in range(count))),
    )
    names = tuple(f"{index:060d}" for index in range(5000))
    catalog = Catalog("train", uids, columns, names, "image", 0, "id")
    parts = list(registrations(catalog))
    assert len(parts) > 2
    assert all(len(bytes(part)) <= PAYLOAD_TARGET_BYTES for part in parts)
    assert [uid for part in parts for uid in part.uids] == list(uids)
    positions = [part.first_position for part in parts]
    assert positions == [0, *np.cumsum([len(part.uids) for part in parts])[:-1]]
    assert [part.complete for part in parts] == [False] * (len(parts) - 1) + [True]
    assert [bool(part.class_names) for part in parts] == [True] + [False] * (len(parts) - 1)
    numbers = np.concatenate([unpack(part.metadata[0].numbers, F64) for part in parts])
    assert numbers.tolist() == list(range(count))


@pytest.mark.parametrize(
    "uids", [["2", "0"], [2, 0], ["2", 0], (2, 0), np.array([2, 0]), np.array(["2", "0"]), torch.tensor([[2], [0]])]
)
@pytest.mark.parametrize("names", [("0", "1", "2"), ("0", "01", "2"), ("0", "7", "2")])
def test_samples_are_found_by_text_or_number_in_any_sequence(names: tuple[str, ...], uids: Any) -> None:
    found = split_named(names).positions_of(uids)
    assert found.dtype == np.uint32
    assert found.tolist() == [2, 0]


@pytest.mark.parametrize(
    ("uids", "unknown"), [([1, 3], "3"), ([-1], "-1"), ([1.0], "1.0"), (np.array([2**40]), "1099")]
)
def test_what_is_no_number_of_a_sample_is_refused(uids: Any, unknown: str) -> None:
    with pytest.raises(InvalidArgument, match=f"'train' has no sample '{unknown}"):
        split_of(Numbered(3)).positions_of(uids)
    assert split_of(Numbered(3)).positions_of([]).tolist() == []


def split_named(uids: tuple[str, ...]) -> Split:
    return Split(Catalog("train", uids, (), (), "", 0, "id"), Numbered(len(uids)))


def test_unknown_uids_are_named() -> None:
    split = split_of(Numbered(3))
    with pytest.raises(InvalidArgument, match="'train' has no sample '3', 'x'"):
        split.positions_of(["3", "1", "x"])
