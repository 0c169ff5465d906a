"""What is true of a predicted pixel or box: the ids of the layer `diff`."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Verdict(IntEnum):
    """0 is background that was seen as background."""

    TRUE_POSITIVE = 1
    FALSE_POSITIVE = 2
    FALSE_NEGATIVE = 3
    CONFUSED = 4


def of_masks(gt: NDArray[Any], pred: NDArray[Any]) -> NDArray[np.uint8]:
    """The verdict of each pixel of `gt` (H, W). A prediction of another size is scaled to it."""
    rows = np.arange(gt.shape[0]) * pred.shape[0] // gt.shape[0]
    columns = np.arange(gt.shape[1]) * pred.shape[1] // gt.shape[1]
    seen = pred[rows[:, None], columns[None, :]]
    verdict = np.select(
        [(gt == seen) & (gt == 0), gt == seen, gt == 0, seen == 0],
        [0, Verdict.TRUE_POSITIVE, Verdict.FALSE_POSITIVE, Verdict.FALSE_NEGATIVE],
        default=Verdict.CONFUSED,
    )
    return verdict.astype(np.uint8)
