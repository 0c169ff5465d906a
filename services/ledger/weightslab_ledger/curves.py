"""Curves: every point of every signal, per branch and mode, in memory; `CurveLog` keeps them on disk."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from weightslab_common.columns import F64, I64, unpack
from weightslab_common.errors import InvalidArgument
from weightslab_proto.weightslab.bus.v1 import SignalBatch
from weightslab_proto.weightslab.v1 import CurveKey, Mode

from weightslab_ledger.arrays import grown
from weightslab_ledger.pyramid import Pyramid
from weightslab_ledger.reduction import Reduced, reduce_points, reduce_range, unreduced
from weightslab_ledger.segments import Segments
from weightslab_ledger.sequences import SeenSequences

DEFAULT_BUDGET = 2000
MAX_BUDGET = 100_000


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """One curve; ordered by signal, branch, mode."""

    signal: str
    branch: str
    mode: int

    def message(self) -> CurveKey:
        return CurveKey(branch=self.branch, signal=self.signal, mode=Mode(self.mode))


def key_of(message: CurveKey) -> Key:
    return Key(signal=message.signal, branch=message.branch, mode=int(message.mode))


@dataclass(frozen=True, slots=True)
class Points:
    """Some points of a curve: `steps` int64, `values` float64, `deviations` float64 (NaN where not known)."""

    key: Key
    steps: NDArray[np.int64]
    values: NDArray[np.float64]
    deviations: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A range of a curve: steps (both included, None is open), from an ordinal on, and at most `budget` points.

    `raw`: the first points as they are, instead of a reduction of all.
    """

    first_step: int | None = None
    last_step: int | None = None
    first_ordinal: int = 0
    budget: int = DEFAULT_BUDGET
    raw: bool = False


@dataclass(frozen=True, slots=True)
class Chosen:
    """`range_count`: points in the range, of which `reduced` are chosen, of a curve that had `point_count` points."""

    point_count: int
    range_count: int
    reduced: Reduced


@dataclass(slots=True)
class Curve:
    """The points of one curve in the order in which they were stored; their index is their ordinal."""

    key: Key
    count: int = 0
    has_deviations: bool = False
    # Steps never went back, so a range of steps is a range of ordinals.
    ordered: bool = True
    pyramid: Pyramid = field(default_factory=Pyramid)
    _steps: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    _values: NDArray[np.float64] = field(default_factory=lambda: np.empty(0, dtype=np.float64))
    _deviations: NDArray[np.float64] = field(default_factory=lambda: np.empty(0, dtype=np.float64))

    @property
    def steps(self) -> NDArray[np.int64]:
        return self._steps[: self.count]

    @property
    def values(self) -> NDArray[np.float64]:
        return self._values[: self.count]

    @property
    def deviations(self) -> NDArray[np.float64]:
        return self._deviations[: self.count]

    def append(self, points: Points) -> None:
        if not len(points.steps):
            return
        start, end = self.count, self.count + len(points.steps)
        self._steps = grown(self._steps, end, 0)
        self._values = grown(self._values, end, 0)
        self._deviations = grown(self._deviations, end, 0)
        self._steps[start:end] = points.steps
        self._values[start:end] = points.values
        self._deviations[start:end] = points.deviations
        self.has_deviations = self.has_deviations or not np.isnan(points.deviations).all()
        self.ordered = self.ordered and bool((np.diff(self._steps[max(0, start - 1) : end]) >= 0).all())
        self.pyramid.extend(self._values[:end], start)
        self.count = end

    def choose(self, wanted: Wanted) -> Chosen:
        """The points of a range, all or some of them, in order of steps."""
        # Points may be appended meanwhile, by another thread: those that were there first count.
        count = self.count
        steps, values = self._steps[:count], self._values[:count]
        if not self.ordered:
            return Chosen(count, *_chosen_unordered(steps, values, wanted))
        # A range of steps is a range of ordinals.
        start, end = 0, count
        if wanted.first_step is not None:
            start = int(np.searchsorted(steps, wanted.first_step, side="left"))
        if wanted.last_step is not None:
            end = int(np.searchsorted(steps, wanted.last_step, side="right"))
        start = max(start, wanted.first_ordinal)
        end = max(start, end)
        if wanted.raw:
            return Chosen(count, end - start, unreduced(np.arange(start, min(end, start + wanted.budget))))
        return Chosen(count, end - start, reduce_range(values, self.pyramid, start, end, wanted.budget))


def _chosen_unordered(steps: NDArray[np.int64], values: NDArray[np.float64], wanted: Wanted) -> tuple[int, Reduced]:
    inside = np.ones(len(steps), dtype=bool)
    inside[: wanted.first_ordinal] = False
    if wanted.first_step is not None:
        inside &= steps >= wanted.first_step
    if wanted.last_step is not None:
        inside &= steps <= wanted.last_step
    ordinals = np.flatnonzero(inside)
    if wanted.raw:
        return len(ordinals), unreduced(ordinals[: wanted.budget])
    ordinals = ordinals[np.argsort(steps[ordinals], kind="stable")]
    return len(ordinals), unreduced(ordinals[reduce_points(values[ordinals], wanted.budget)])


def points_of(batch: SignalBatch) -> list[Points]:
    """The points a message carries. Raises InvalidArgument when its columns do not fit together."""
    found = []
    for column in batch.columns:
        if not column.signal:
            raise InvalidArgument("a signal has no name")
        steps = unpack(column.steps, I64, name=f"steps of {column.signal}")
        values = unpack(column.values, F64, count=len(steps), name=f"values of {column.signal}")
        deviations = np.full(len(steps), np.nan)
        if column.deviations:
            deviations = unpack(column.deviations, F64, count=len(steps), name=f"deviations of {column.signal}")
        found.append(Points(Key(column.signal, batch.branch, int(batch.mode)), steps, values, deviations))
    return found


class CurveTable:
    """All curves of an experiment."""

    def __init__(self) -> None:
        self.curves: dict[Key, Curve] = {}

    def append(self, points: Points) -> None:
        self.curves.setdefault(points.key, Curve(points.key)).append(points)

    def sorted(self) -> list[Curve]:
        return [self.curves[key] for key in sorted(self.curves)]


@dataclass(slots=True)
class CurveLog:
    """Curves on disk. A record is one message: its curves in the header, its columns in the body."""

    segments: Segments
    seen: SeenSequences = field(default_factory=SeenSequences)
    # What the stream has up to here needs not be read again.
    position: int = 0

    def load(self, table: CurveTable) -> None:
        for record in self.segments.load():
            header = record.header
            if not self.seen.add(header["run"], header["sequence"]):
                continue
            self.position = max(self.position, header["position"])
            start = 0
            for signal, count in header["curves"]:
                end = start + 24 * count
                steps, values, deviations = np.frombuffer(record.body[start:end], dtype=np.int64).reshape(3, count)
                start = end
                key = Key(signal, header["branch"], header["mode"])
                table.append(Points(key, steps, values.view(np.float64), deviations.view(np.float64)))

    def append(self, batch: SignalBatch, points: list[Points], *, position: int) -> None:
        """Write a message; durable after the next `segments.sync`.

        `position`: up to here everything of the stream is durable already.
        """
        header: dict[str, Any] = {
            "position": position,
            "run": batch.run_id,
            "sequence": batch.sequence,
            "branch": batch.branch,
            "mode": int(batch.mode),
            "curves": [[part.key.signal, len(part.steps)] for part in points],
        }
        body = b"".join(
            part.steps.tobytes() + part.values.tobytes() + np.ascontiguousarray(part.deviations).tobytes()
            for part in points
        )
        self.segments.append(header, body)
