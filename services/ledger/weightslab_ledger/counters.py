"""Counters of an experiment: of the dataset, whatever anybody filters."""

from __future__ import annotations

import numpy as np
from weightslab_proto.weightslab.v1 import Counters, SplitCounters, TagCount

from weightslab_ledger.arrays import count_both
from weightslab_ledger.catalog import Catalog
from weightslab_ledger.edits import EditState, Mask


class CounterCache:
    """Counts anew only after an edit or a registration, and after an edit only the masks that it changed."""

    def __init__(self, catalog: Catalog, edits: EditState) -> None:
        self._catalog = catalog
        self._edits = edits
        self._state = (-1, -1)
        self._counters = Counters()
        self._totals: list[int] = []
        # What was counted of which mask: edits replace masks, and never write into them.
        self._discarded: tuple[Mask, list[int]] | None = None
        self._tags: dict[str, tuple[Mask, int]] = {}

    def get(self) -> Counters:
        state = (self._catalog.version, self._edits.revision)
        if state != self._state:
            if state[0] != self._state[0]:
                self._totals = self._by_split(self._catalog.present)
                self._discarded, self._tags = None, {}
            self._counters = self._count()
            self._state = state
        return self._counters

    def _count(self) -> Counters:
        edits, present = self._edits, self._catalog.present
        if self._discarded is None or self._discarded[0] is not edits.discarded:
            discarded = edits.discarded[: len(present)]
            self._discarded = edits.discarded, self._by_split(discarded & present[: len(discarded)])
        known = self._tags
        self._tags = {
            tag: known[tag] if tag in known and known[tag][0] is mask else (mask, count_both(mask, present))
            for tag, mask in sorted(edits.tags.items())
        }
        splits = [
            SplitCounters(split=split.name, total=total, active=total - discarded)
            for split, total, discarded in zip(self._catalog.splits, self._totals, self._discarded[1], strict=True)
        ]
        return Counters(
            total=sum(split.total for split in splits),
            active=sum(split.active for split in splits),
            splits=splits,
            tags=[TagCount(tag=tag, count=count) for tag, (_, count) in self._tags.items()],
        )

    def _by_split(self, mask: Mask) -> list[int]:
        """How many of each split are true in a mask, which may be shorter than there are rows."""
        indices = self._catalog.split_index[: len(mask)][mask]
        return list(map(int, np.bincount(indices, minlength=len(self._catalog.splits))))
