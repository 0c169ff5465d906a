"""Labels of units: which positions along the axes of tensors belong to one unit and must change together.

A unit is what people call a neuron or a channel, with everything that depends on it. Labels are int64; those of one
unit are united. A unit may be fixed, for a reason that is told when somebody wants to change it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LabelArray = NDArray[np.int64]


class Labels:
    """A union-find over labels."""

    def __init__(self) -> None:
        self._parents = np.empty(0, dtype=np.int64)
        self._reasons: dict[int, str] = {}

    def fresh(self, count: int) -> LabelArray:
        """Labels of `count` new units."""
        first = len(self._parents)
        added = np.arange(first, first + count, dtype=np.int64)
        self._parents = np.concatenate([self._parents, added])
        return added

    def fixed(self, reason: str) -> int:
        """The label of what cannot change."""
        label = int(self.fresh(1)[0])
        self._reasons[label] = reason
        return label

    def find(self, labels: LabelArray) -> LabelArray:
        """One label for each unit, the same for all positions of it."""
        found = self._parents[labels]
        while not np.array_equal(above := self._parents[found], found):
            found = above
        return found

    def unite(self, first: LabelArray, second: LabelArray) -> None:
        """Position by position, what is labelled so is one unit."""
        for one, other in set(zip(first.tolist(), second.tolist(), strict=True)):
            left, right = (int(root) for root in self.find(np.array([one, other], dtype=np.int64)))
            if left == right:
                continue
            self._parents[right] = left
            if right in self._reasons:
                self._reasons.setdefault(left, self._reasons.pop(right))

    def fix(self, labels: LabelArray, reason: str) -> None:
        fixed = self.fixed(reason)
        self.unite(labels, np.full_like(labels, fixed))

    def reason(self, label: int) -> str | None:
        """Why the unit cannot change; None when it can."""
        return self._reasons.get(int(self.find(np.array([label], dtype=np.int64))[0]))
