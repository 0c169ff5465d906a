"""Trajectories: the values that single samples had over epochs or steps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weightslab_ledger.blobs import Rows
from weightslab_ledger.history import Place
from weightslab_ledger.slices import Seen


@dataclass(frozen=True, slots=True)
class Trajectory:
    """`sample`: index of the sample asked for. `positions` (int64, increasing): epochs or steps; `values` float32."""

    sample: int
    branch: str
    positions: NDArray[np.int64]
    values: NDArray[np.float32]


def by_epoch(epochs: Iterable[tuple[Place, NDArray[np.float32]]], sample_count: int) -> list[Trajectory]:
    """One per sample and branch with any value, from one value per sample and epoch (NaN for none)."""
    places: dict[str, list[int]] = {}
    values: dict[str, list[NDArray[np.float32]]] = {}
    for place, found in epochs:
        places.setdefault(place.branch, []).append(place.epoch)
        values.setdefault(place.branch, []).append(found)
    table = {branch: (np.array(places[branch], dtype=np.int64), np.stack(values[branch])) for branch in places}
    return [
        Trajectory(sample, branch, positions[known], column[known])
        for sample in range(sample_count)
        for branch, (positions, grid) in sorted(table.items())
        if (known := ~np.isnan(column := grid[:, sample])).any()
    ]


def by_step(branches: Iterable[tuple[str, Iterable[Seen]]], rows: Rows, row_count: int) -> list[Trajectory]:
    """One per entry of `rows` and branch with any value; of several values at one step the one that came last."""
    wanted = np.zeros(row_count, dtype=bool)
    wanted[rows] = True
    found: list[Trajectory] = []
    for branch, parts in branches:
        kept: list[tuple[NDArray[Any], ...]] = []
        for part in parts:
            chosen = wanted[part.rows] & ~np.isnan(part.values)
            if chosen.any():
                kept.append((part.rows[chosen], part.steps[chosen], part.values[chosen]))
        if kept:
            found += _by_row(branch, rows, *(np.concatenate(column) for column in zip(*kept, strict=True)))
    return sorted(found, key=lambda part: (part.sample, part.branch))


def _by_row(
    branch: str, rows: Rows, seen_rows: Rows, steps: NDArray[np.int64], values: NDArray[np.float32]
) -> list[Trajectory]:
    found = []
    for sample, row in enumerate(rows.tolist()):
        mine = seen_rows == row
        if mine.any():
            own_steps, own_values = steps[mine][::-1], values[mine][::-1]
            # The first of equal steps in the reversed order is the one that came last.
            positions, first = np.unique(own_steps, return_index=True)
            found.append(Trajectory(sample, branch, positions, own_values[first]))
    return found
