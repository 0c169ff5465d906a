"""The order of texts: whole numbers by value and before others; the empty text, which says nothing, last."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

# Of the empty text.
EMPTY_RANK = 0


def natural_ranks(texts: Sequence[str]) -> NDArray[np.uint32]:
    """uint32 per text: from 1 on in increasing order, the same for equal texts, and EMPTY_RANK for the empty one."""
    ranks = np.full(len(texts), EMPTY_RANK, dtype=np.uint32)
    rank, last = EMPTY_RANK, ""
    for code in sorted(range(len(texts)), key=lambda code: _key(texts[code])):
        if texts[code] != last:
            rank, last = rank + 1, texts[code]
        ranks[code] = rank
    return ranks


def _key(text: str) -> tuple[int, int, str]:
    if text.isascii() and text.isdigit():
        return 1, int(text), text
    return (2 if text else 0), 0, text


class KnownRanks:
    """The ranks of texts that only become more. They are kept until then: of a million it takes half a second."""

    def __init__(self) -> None:
        self._ranks = np.empty(0, dtype=np.uint32)

    def of(self, texts: list[str]) -> NDArray[np.uint32]:
        """Called from any thread; each text that is there when it is called has its rank."""
        count = len(texts)
        ranks = self._ranks
        if len(ranks) < count:
            ranks = self._ranks = natural_ranks(list(islice(texts, count)))
        return ranks
