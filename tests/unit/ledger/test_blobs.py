"""Rows and texts survive the way into the store."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from weightslab_ledger import blobs

ROWS = st.integers(0, 2**32 - 1)


@given(st.sets(ROWS.filter(lambda row: row < 2**20), max_size=200))
def test_a_set_of_rows_comes_back(rows: set[int]) -> None:
    array = np.array(sorted(rows), dtype=np.uint32)
    assert blobs.unpack_row_set(blobs.pack_row_set(array)).tolist() == sorted(rows)


@given(st.lists(ROWS, max_size=50))
def test_a_list_of_rows_comes_back_in_its_order(rows: list[int]) -> None:
    assert blobs.unpack_row_list(blobs.pack_row_list(np.array(rows, dtype=np.uint32))).tolist() == rows


@given(st.lists(st.text(max_size=20), max_size=20))
def test_texts_come_back_whatever_they_hold(texts: list[str]) -> None:
    assert blobs.unpack_texts(blobs.pack_texts(texts)) == texts


def test_a_million_neighbouring_rows_take_little_room() -> None:
    rows = np.arange(1_000_000, dtype=np.uint32)
    assert len(blobs.pack_row_set(rows)) < 2000
    assert len(blobs.pack_row_set(rows[::100])) < 60_000
