"""Rows are given once, found again by uid, and never shifted."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from weightslab_common.errors import InvalidArgument, NotFound
from weightslab_ledger.catalog import Catalog, Change, OutOfOrder
from weightslab_ledger.catalog_store import decode_part, encode_part
from weightslab_ledger.metadata import NumberColumn
from weightslab_ledger.wire import read_registration

from tests.unit.ledger.trainers import registration


def _register(catalog: Catalog, split: str, uids: list[str], **fields: object) -> None:
    part, metadata = read_registration(bytes(registration(split, uids, **fields)))  # type: ignore[arg-type]
    planned = catalog.plan(part, metadata)
    if planned is not None:
        # By the way of the store, as after a restart.
        catalog.apply(decode_part(encode_part(planned)))


@given(st.lists(st.sets(st.sampled_from("abcdefgh"), min_size=1), min_size=1, max_size=6))
def test_a_uid_keeps_its_row_over_all_registrations(datasets: list[set[str]]) -> None:
    """Also of a dataset that comes again after another, under the name it had."""
    catalog = Catalog()
    rows: dict[str, int] = {}
    for number, dataset in enumerate(datasets):
        uids = sorted(dataset)
        name = "".join(uids)
        _register(catalog, "train", uids, registration_id=name, run_id="run", sequence=number + 1)
        for position, uid in enumerate(uids):
            row = int(catalog.rows_of(name)[position])
            assert rows.setdefault(uid, row) == row
            assert catalog.find("train", uid) == row
        gone = set(rows) - dataset
        assert all(catalog.find("train", uid) is None for uid in gone)
        assert int(catalog.present.sum()) == len(dataset)


def test_the_same_uid_in_two_splits_is_two_samples() -> None:
    catalog = Catalog()
    _register(catalog, "train", ["1"])
    _register(catalog, "val", ["1"])
    assert (catalog.find("train", "1"), catalog.find("val", "1")) == (0, 1)


def test_a_registration_that_is_known_changes_nothing() -> None:
    catalog = Catalog()
    _register(catalog, "train", ["a", "b"])
    version = catalog.version
    _register(catalog, "train", ["a", "b"])
    assert catalog.version == version


def test_a_dataset_that_comes_back_after_another_is_present_again() -> None:
    catalog = Catalog()
    whole, part = ["a", "b", "c"], ["b", "d"]
    _register(catalog, "train", whole, registration_id="A", run_id="1", metadata={"target": [1, 2, 3]})
    assert catalog.split_named("train").change is None
    _register(catalog, "train", part, registration_id="B", run_id="2", metadata={"target": [7, 8]})
    assert catalog.split_named("train").change == Change(new=1, returned=0, gone=2)
    again = {"registration_id": "A", "run_id": "3", "sample_count": 3}
    _register(catalog, "train", whole[:2], **again, metadata={"target": [1, 2]}, complete=False)
    # Until all of it has come the other one holds, and values of either find their rows.
    assert catalog.rows_of("A").tolist() == [0, 1, 2]
    assert catalog.split_named("train").registration_id == "B"
    _register(catalog, "train", whole[2:], **again, sequence=1, metadata={"target": [3]}, first_position=2)
    assert catalog.split_named("train").change == Change(new=0, returned=2, gone=1)
    assert catalog.rows_of("A").tolist() == [0, 1, 2]
    assert catalog.present.tolist() == [True, True, True, False]
    target = catalog.metadata["target"]
    assert isinstance(target, NumberColumn)
    assert target.values(4).tolist() == [1, 2, 3, 8]


def test_a_registration_that_is_read_again_from_the_stream_brings_no_dataset_back() -> None:
    catalog = Catalog()
    for _ in range(2):
        _register(catalog, "train", ["a", "b"], registration_id="A", run_id="1")
        _register(catalog, "train", ["b"], registration_id="B", run_id="2")
        assert catalog.present.tolist() == [False, True]
    assert catalog.part_count == 2


def test_parts_come_in_order_or_wait() -> None:
    catalog = Catalog()
    later = registration("train", ["b"], registration_id="r", sample_count=2, first_position=1)
    with pytest.raises(OutOfOrder):
        catalog.plan(later, {})
    _register(catalog, "train", ["a"], registration_id="r", sample_count=2, complete=False)
    with pytest.raises(OutOfOrder):
        catalog.rows_of("r")
    planned = catalog.plan(later, {})
    assert planned
    catalog.apply(planned)
    assert catalog.rows_of("r").tolist() == [0, 1]


def test_a_uid_that_is_there_twice_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="a uid is there twice"):
        _register(Catalog(), "train", ["a", "a"])


def test_more_uids_than_announced_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="2 uids have come where 1 were announced"):
        _register(Catalog(), "train", ["a", "b"], sample_count=1)


def test_metadata_of_several_splits_is_one_column() -> None:
    catalog = Catalog()
    _register(catalog, "train", ["a", "b"], metadata={"target": [1.0, 2.0], "camera": ["x", "y"]})
    _register(catalog, "val", ["c"], metadata={"camera": ["x"]})
    column = catalog.metadata["target"]
    assert isinstance(column, NumberColumn)
    np.testing.assert_array_equal(column.values(3), [1, 2, np.nan])
    cameras = catalog.texts("camera")
    assert cameras
    assert cameras.texts() == ["x", "y", "x"]


def test_numbers_become_texts_where_another_split_has_texts() -> None:
    catalog = Catalog()
    _register(catalog, "train", ["a"], metadata={"size": [2.5]})
    _register(catalog, "val", ["b"], metadata={"size": ["large"]})
    _register(catalog, "test", ["c"], metadata={"size": [3.0]})
    sizes = catalog.texts("size")
    assert sizes
    assert sizes.texts() == ["2.5", "large", "3"]


def test_an_unknown_split_is_named_with_those_there_are() -> None:
    catalog = Catalog()
    _register(catalog, "train", ["a"])
    with pytest.raises(NotFound, match="there is no split 'test'; there are: 'train'"):
        catalog.split_named("test")


def test_layers_of_a_split_are_kept_and_may_be_missing_in_what_was_stored_before() -> None:
    catalog = Catalog()
    _register(catalog, "train", ["a"], layers=["image", "gt"])
    assert catalog.split_named("train").layers == ["image", "gt"]
    part, metadata = read_registration(bytes(registration("val", ["b"])))
    planned = catalog.plan(part, metadata)
    assert planned is not None
    older = encode_part(planned).replace(b',"layers":[]', b"")
    older = struct.pack("<I", struct.unpack_from("<I", older)[0] - len(b',"layers":[]')) + older[4:]
    catalog.apply(decode_part(older))
    assert catalog.split_named("val").layers == []
