"""Trajectories: the values that single samples had over epochs or steps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from weightslab_ledger.blobs import Rows
from weightslab_ledger.chunks import Seen, joined_seen


@dataclass(frozen=True, slots=True)
class Trajectory:
    """`sample`: index of the sample asked for. `positions` (int64, increasing): epochs or steps; `values` float32."""

    sample: int
    branch: str
    positions: NDArray[np.int64]
    values: NDArray[np.float32]


def trajectories(
    branches: Iterable[tuple[str, Iterable[Seen]]], rows: Rows, *, by_epoch: bool = False
) -> list[Trajectory]:
    """One per entry of `rows` and branch with any value; of several values at one step or epoch the one that came last.

    NaN is no value. What was seen of a branch may be of any samples, in the order it came.
    """
    found: list[Trajectory] = []
    for branch, parts in branches:
        kept = [part.chosen(~np.isnan(part.values)) for part in parts]
        if kept:
            found += _of_branch(branch, rows, joined_seen(kept), by_epoch=by_epoch)
    return sorted(found, key=lambda part: (part.sample, part.branch))


def _of_branch(branch: str, rows: Rows, seen: Seen, *, by_epoch: bool) -> Iterable[Trajectory]:
    axis = seen.epochs.astype(np.int64) if by_epoch else seen.steps
    for sample, row in enumerate(rows.tolist()):
        mine = seen.rows == row
        if mine.any():
            # The first of equal positions in the reversed order is the one that came last.
            positions, first = np.unique(axis[mine][::-1], return_index=True)
            yield Trajectory(sample, branch, positions, seen.values[mine][::-1][first])
