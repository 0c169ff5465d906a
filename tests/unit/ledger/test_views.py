"""A view is what plain Python would filter and sort, page by page, whatever changes after it was made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from weightslab_ledger.catalog import Catalog
from weightslab_ledger.columns import Batch, ColumnTable
from weightslab_ledger.edits import EditState, Order
from weightslab_ledger.frame import Frame, frame_of
from weightslab_ledger.views import View, Views, Wish
from weightslab_proto.weightslab.v1 import EditOperation

from tests.unit.ledger.trainers import registration

# More than are put in order at once.
COUNT = 12_000
CAMERAS = ["front", "rear", "", "10", "9"]
# Few values, so that there are ties, and all that is special.
SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 0.25, 0.5, -3.0, 7.0], dtype=np.float32)


@dataclass(frozen=True)
class Samples:
    """The same samples as the ledger keeps them, and as lists."""

    frame: Frame
    columns: dict[str, list[float]]
    camera: list[str]
    hard: list[bool]


def _batch(rows: np.ndarray) -> Batch:
    return Batch(rows, np.zeros(len(rows), dtype=np.int64), np.zeros(len(rows), dtype=np.uint32), COUNT)


def _samples(seed: int) -> Samples:
    randomness = np.random.default_rng(seed)
    catalog, columns, edits = Catalog(), ColumnTable(), EditState()
    camera = [CAMERAS[code] for code in randomness.integers(0, len(CAMERAS), COUNT)]
    target = randomness.integers(0, 4, COUNT).astype(np.float64)
    part = catalog.plan(registration("train", [str(row) for row in range(COUNT)]), {"camera": camera, "target": target})
    assert part
    catalog.apply(part)
    rows = np.arange(COUNT, dtype=np.uint32)
    coarse, fine = randomness.choice(SPECIAL, COUNT), randomness.random(COUNT, dtype=np.float32)
    columns.update("train/coarse", _batch(rows), coarse)
    columns.update("train/fine", _batch(rows), fine)
    # A tag whose last sample is far from the last of all.
    hard = np.flatnonzero(randomness.random(COUNT // 2) < 0.5).astype(np.uint32)
    edits.apply(edits.plan(Order("a", "", EditOperation.ADD_TAG, "hard", hard, 0)))
    held = np.zeros(COUNT, dtype=bool)
    held[hard] = True
    lists = {"coarse": coarse.tolist(), "fine": fine.tolist(), "target": target.tolist(), "row": rows.tolist()}
    return Samples(frame_of(catalog, columns, edits), lists, camera, held.tolist())


SAMPLES = [_samples(seed) for seed in range(3)]

FILTERS: dict[str, Callable[[Samples, int], bool]] = {
    "": lambda of, row: True,
    "fine > 0.9": lambda of, row: of.columns["fine"][row] > 0.9,
    "fine > 0.1": lambda of, row: of.columns["fine"][row] > 0.1,
    "coarse > 0": lambda of, row: of.columns["coarse"][row] > 0,
    "not coarse > 0": lambda of, row: not of.columns["coarse"][row] > 0,
    "isnan(coarse)": lambda of, row: of.columns["coarse"][row] != of.columns["coarse"][row],
    'tag("hard") and fine < 0.99': lambda of, row: of.hard[row] and of.columns["fine"][row] < 0.99,
    'camera == "front" or target in (1, 2)': lambda of, row: (
        of.camera[row] == "front" or of.columns["target"][row] in (1, 2)
    ),
    "false": lambda of, row: False,
}
SORTS = st.lists(
    st.tuples(st.sampled_from(["coarse", "fine", "target", "camera", "row", "coarse.mean", "tagged"]), st.booleans()),
    max_size=3,
)


def _key(of: Samples, column: str, descending: bool, row: int) -> tuple[int, float]:
    """Orders by one column: what is missing last, either way."""
    if column == "camera":
        # Numbers first and by value, the empty text last.
        value = float(["9", "10", "front", "rear", ""].index(of.camera[row]))
        missing = of.camera[row] == ""
    elif column == "tagged":
        value, missing = float(of.hard[row]), False
    else:
        value = of.columns[column.removesuffix(".mean")][row]
        missing = value != value
    return (1, 0.0) if missing else (0, -value if descending else value)


def _expected(of: Samples, wish: Wish) -> list[int]:
    rows = [row for row in range(COUNT) if FILTERS[wish.filter](of, row)]
    return sorted(rows, key=lambda row: [_key(of, column, descending, row) for column, descending in wish.sort])


def _made(of: Samples, wish: Wish) -> View:
    return Views(1 << 30).get(of.frame, wish, "")


@settings(max_examples=60)
@given(st.sampled_from(SAMPLES), st.sampled_from(sorted(FILTERS)), SORTS, st.lists(st.integers(0, COUNT), max_size=4))
def test_pages_are_those_of_plain_python(
    of: Samples, filter: str, sort: list[tuple[str, bool]], offsets: list[int]
) -> None:
    wish = Wish(filter, tuple(sort))
    view, expected = _made(of, wish), _expected(of, wish)
    assert view.order.count == len(expected)
    # The second page ends where what is put in order at once ends.
    for offset in [0, 4032, 4033, *offsets, 0]:
        assert view.page(offset, 64).tolist() == expected[offset : offset + 64]


@pytest.mark.parametrize("column", ["coarse", "fine"])
def test_a_view_keeps_its_order_while_values_change(column: str) -> None:
    of = _samples(9)
    wish = Wish("fine > 0.1", ((column, True),))
    view, expected = _made(of, wish), _expected(of, wish)
    rows = np.arange(COUNT, dtype=np.uint32)
    for name in ("train/coarse", "train/fine"):
        of.frame.columns.update(name, _batch(rows), np.zeros(COUNT, dtype=np.float32))
    assert view.page(0, 64).tolist() == expected[:64]
    assert view.page(6000, 64).tolist() == expected[6000:6064]
    assert view.page(64, 64).tolist() == expected[64:128]


def test_views_beyond_the_bound_are_given_up_by_what_they_hold_now() -> None:
    of = SAMPLES[0]
    first, second, third = Wish("", ()), Wish("fine > 0.1", ()), Wish("fine > 0.2", ())
    views = Views(80_000)
    deep = views.get(of.frame, first, "")
    # Worked out as a whole it is twice as large.
    deep.page(8000, 64)
    assert views.get(of.frame, first, deep.token) is deep
    other = views.get(of.frame, second, "")
    assert views.get(of.frame, second, other.token) is other
    newest = views.get(of.frame, third, "")
    assert views.get(of.frame, third, newest.token) is newest
    assert views.get(of.frame, first, deep.token) is not deep
