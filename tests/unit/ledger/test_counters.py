"""Counters are what counting everything anew would give, after every edit and every registration."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from weightslab_ledger.catalog import Catalog
from weightslab_ledger.counters import CounterCache
from weightslab_ledger.edits import EditState, Order
from weightslab_proto.weightslab.v1 import Counters, EditOperation, SplitCounters, TagCount

from tests.unit.ledger.trainers import registration

TAGS = ("a", "b")
EDITS = st.tuples(
    st.sampled_from([EditOperation.ADD_TAG, EditOperation.REMOVE_TAG, EditOperation.DISCARD, EditOperation.RESTORE]),
    st.sampled_from(TAGS),
    st.sets(st.integers(0, 9), min_size=1),
)
# Which uids are registered next, for one of two splits.
REGISTRATIONS = st.tuples(st.sampled_from(["train", "val"]), st.sets(st.integers(0, 5)))


def _expected(catalog: Catalog, edits: EditState) -> Counters:
    """Counted row by row."""
    rows = [row for row in range(catalog.row_count) if catalog.present[row]]
    discarded = set(np.flatnonzero(edits.discarded).tolist())
    splits = []
    for split in catalog.splits:
        own = [row for row in rows if catalog.split_index[row] == split.index]
        active = sum(row not in discarded for row in own)
        splits.append(SplitCounters(split=split.name, total=len(own), active=active))
    return Counters(
        total=len(rows),
        active=sum(row not in discarded for row in rows),
        splits=splits,
        tags=[
            TagCount(tag=tag, count=len(set(rows) & set(np.flatnonzero(edits.tags[tag]).tolist())))
            for tag in sorted(edits.tags)
        ],
    )


@settings(max_examples=200)
@given(st.lists(EDITS | REGISTRATIONS, max_size=12))
def test_counters_are_those_of_counting_anew(steps: list[tuple]) -> None:  # type: ignore[type-arg]
    catalog, edits = Catalog(), EditState()
    counters = CounterCache(catalog, edits)
    for number, step in enumerate(steps):
        if len(step) == 2:
            split, uids = step
            uids = [str(uid) for uid in sorted(uids)]
            part = catalog.plan(registration(split, uids, registration_id=str(number)), {})
            if part is not None:
                catalog.apply(part)
        else:
            operation, tag, rows = step
            known = np.array([row for row in sorted(rows) if row < catalog.row_count], dtype=np.uint32)
            named = tag if operation in (EditOperation.ADD_TAG, EditOperation.REMOVE_TAG) else ""
            if operation is not EditOperation.REMOVE_TAG or tag in edits.tags:
                edits.apply(edits.plan(Order(str(number), "", operation, named, known, 0)))
        assert counters.get() == _expected(catalog, edits)
    assert counters.get() is counters.get()
