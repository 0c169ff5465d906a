"""Counters of an experiment: of the dataset, whatever anybody filters."""

from __future__ import annotations

import numpy as np
from weightslab_proto.weightslab.v1 import Counters, SplitCounters, TagCount

from weightslab_ledger.catalog import Catalog
from weightslab_ledger.edits import DISCARDS, EditState


class CounterCache:
    """Counts anew only after an edit or a registration."""

    def __init__(self, catalog: Catalog, edits: EditState) -> None:
        self._catalog = catalog
        self._edits = edits
        self._state = (-1, -1)
        self._counters = Counters()

    def get(self) -> Counters:
        state = (self._catalog.version, self._edits.revision)
        if state != self._state:
            self._counters = count(self._catalog, self._edits)
            self._state = state
        return self._counters


def count(catalog: Catalog, edits: EditState) -> Counters:
    """Count the samples of the present dataset."""
    row_count = catalog.row_count
    present = catalog.present
    active = present & ~edits.mask(DISCARDS, row_count)
    names = [split.name for split in catalog.splits]
    totals = np.bincount(catalog.split_index[present], minlength=len(names)).tolist()
    actives = np.bincount(catalog.split_index[active], minlength=len(names)).tolist()
    return Counters(
        total=int(present.sum()),
        active=int(active.sum()),
        splits=[
            SplitCounters(split=name, total=total, active=left)
            for name, total, left in zip(names, totals, actives, strict=True)
        ],
        tags=[TagCount(tag=tag, count=int((edits.mask(tag, row_count) & present).sum())) for tag in sorted(edits.tags)],
    )
