"""What viewers of one experiment see, and what is new in it since a viewer last looked. Without I/O.

A viewer has no queue: it has a position, and what it gets next is the difference between the feed and its position.
So a slow viewer gets merged messages by itself, and viewers at the same position can share one message.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from weightslab_proto.weightslab.bus.v1 import LedgerExperiment, LiveUpdate
from weightslab_proto.weightslab.v1 import (
    Availability,
    Counters,
    CurveDelta,
    CurveKey,
    CurvePosition,
    Edit,
    Experiment,
    Mode,
    RunStatus,
    WatchResponse,
)

from weightslab_gateway.curve_tail import CurveTail, Gap

# Points of a curve that are kept for viewers; who needs older ones asks SignalService.GetCurves.
KEPT_POINTS = 2000
# Points in one message: clients of gRPC take 4 MiB unless told otherwise.
MAX_MESSAGE_POINTS = 100_000
KEPT_EDITS = 1000

Key = tuple[str, str, int]
"""Branch, signal, mode."""


def key_of(key: CurveKey) -> Key:
    return (key.branch, key.signal, int(key.mode))


def curve_key(key: Key) -> CurveKey:
    return CurveKey(branch=key[0], signal=key[1], mode=Mode(key[2]))


@dataclass(frozen=True, slots=True, eq=False)
class Position:
    """Where a viewer stands: what it was told of each curve, of the edits and of the state."""

    counts: Mapping[Key, int] = field(default_factory=dict)
    # None until the edits are known: the viewer then starts at the revision of that moment.
    revision: int | None = None
    state_version: int = -1
    data_version: int = -1


@dataclass(frozen=True, slots=True)
class Missing:
    """A gap in a curve that the feed could not close by itself."""

    key: Key
    gap: Gap


class Feed:
    """The state of one experiment as viewers see it."""

    def __init__(self, experiment: str) -> None:
        self._experiment = experiment
        self._status: RunStatus | None = None
        self._trainer_connected = False
        self._ledger_connected = False
        self._counters = Counters()
        self._availability = Availability()
        self._value_version = 0
        self._curves: dict[Key, CurveTail] = {}
        self._edits: deque[Edit] = deque(maxlen=KEPT_EDITS)
        self.revision: int | None = None
        # Raised by what viewers are told at once, and by curves.
        self._state_version = 0
        self._data_version = 0
        self._position: Position | None = None

    # What the owner of the feed puts in.

    def set_run(self, status: RunStatus | None, *, trainer_connected: bool, ledger_connected: bool) -> None:
        """Set the run's status and who answers."""
        if (status, trainer_connected, ledger_connected) != (
            self._status,
            self._trainer_connected,
            self._ledger_connected,
        ):
            self._status = status
            self._trainer_connected = trainer_connected
            self._ledger_connected = ledger_connected
            self._touch_state()

    def set_availability(self, availability: Availability) -> None:
        if availability != self._availability:
            self._availability = availability
            self._touch_state()

    def load(self, entry: LedgerExperiment, counts: Mapping[Key, int]) -> list[Missing]:
        """Start from what the ledger holds: revision, counters, and how many points each curve has.

        Returns what curves that were known already have missed, to be closed by `fill`.
        """
        self._counters = entry.counters
        if self.revision is None or entry.revision < self.revision:
            self._edits.clear()
            self.revision = entry.revision
        for key, count in counts.items():
            tail = self._curves.setdefault(key, CurveTail(end=count, kept_points=KEPT_POINTS))
            if count < tail.end:
                tail.reset(count)
        self._touch_state()
        self._touch_data()
        return [
            Missing(key, Gap(tail.end, count))
            for key, count in counts.items()
            if (tail := self._curves[key]).end < count
        ]

    def apply_live(self, update: LiveUpdate) -> list[Missing]:
        """Take what the ledger has stored; returns the gaps before it, to be closed by `fill`."""
        missing = []
        for delta in update.curves:
            key = key_of(delta.key)
            tail = self._curves.setdefault(key, CurveTail(end=0, kept_points=KEPT_POINTS))
            gap = tail.append(delta.first_ordinal, delta.steps, delta.values)
            if gap is None and delta.point_count > tail.end:
                gap = Gap(tail.end, delta.point_count)
            if gap is not None:
                missing.append(Missing(key, Gap(gap.first, max(gap.end, delta.point_count))))
        if update.counters and update.counters != self._counters:
            self._counters = update.counters
            self._touch_state()
        if update.curves or update.value_version != self._value_version:
            self._value_version = update.value_version
            self._touch_data()
        return missing

    def fill(self, key: Key, first: int, steps: bytes, values: bytes) -> None:
        """Add points of a curve that were asked for, at either end of its tail."""
        tail = self._curves[key]
        if first < tail.first:
            tail.prepend(first, steps, values)
        else:
            tail.append(first, steps, values)
        self._touch_data()

    def skip(self, missing: Missing) -> None:
        """Leave a gap open: viewers are told how many points there are, and fetch them."""
        tail = self._curves[missing.key]
        if tail.end < missing.gap.end:
            tail.reset(missing.gap.end)
            self._touch_data()

    def tail(self, key: Key) -> CurveTail | None:
        return self._curves.get(key)

    def apply_edit(self, edit: Edit) -> bool:
        """Take the next edit; returns False when edits before it are missing, and takes nothing then."""
        if self.revision is None or edit.revision <= self.revision:
            return True
        if edit.revision > self.revision + 1:
            return False
        self._edits.append(edit)
        self.revision = edit.revision
        self._counters = edit.counters or self._counters
        self._touch_state()
        return True

    # What viewers take out.

    @property
    def edits_floor(self) -> int:
        """Edits after this revision are kept; earlier ones must be asked of the ledger."""
        return (self.revision or 0) - len(self._edits)

    def resume(self, positions: Iterable[CurvePosition], revision: int, *, resumed: bool = False) -> Position:
        """The position of a viewer that says where it stands; revision 0 is a new viewer unless it has `resumed`."""
        return Position(
            counts={key_of(held.key): held.point_count for held in positions},
            revision=revision if revision or resumed else self.revision,
        )

    def position(self) -> Position:
        """Where a viewer stands that was told everything; the same object for all of them."""
        if self._position is None:
            self._position = Position(
                counts={key: tail.end for key, tail in self._curves.items()},
                revision=self.revision,
                state_version=self._state_version,
                data_version=self._data_version,
            )
        return self._position

    def has_news(self, position: Position) -> bool:
        return self.is_urgent(position) or position.data_version != self._data_version

    def is_urgent(self, position: Position) -> bool:
        """Whether more than curves is new."""
        return position.state_version != self._state_version

    def since(self, position: Position) -> WatchResponse:
        """What is new since `position`. Its edits must not lie before `edits_floor`."""
        reply = WatchResponse(
            curves=self._curves_since(position.counts),
            edits=self._edits_since(position.revision),
            value_version=self._value_version,
            sent_unix_ms=int(time.time() * 1000),
        )
        if self.is_urgent(position):
            reply.experiment = Experiment(
                experiment=self._experiment,
                status=self._status,
                trainer_connected=self._trainer_connected,
                ledger_connected=self._ledger_connected,
                revision=self.revision or 0,
                counters=self._counters,
            )
            reply.availability = self._availability
        return reply

    def _curves_since(self, counts: Mapping[Key, int]) -> list[CurveDelta]:
        budget = MAX_MESSAGE_POINTS
        deltas = []
        for key, tail in sorted(self._curves.items()):
            told = counts.get(key, 0)
            if told == tail.end and key in counts:
                continue
            delta = CurveDelta(key=curve_key(key), first_ordinal=min(told, tail.end), point_count=tail.end)
            if tail.first <= told < tail.end and tail.end - told <= budget:
                delta.steps, delta.values = tail.since(told)
                budget -= tail.end - told
            deltas.append(delta)
        return deltas

    def _edits_since(self, revision: int | None) -> list[Edit]:
        if revision is None:
            return []
        return [edit for edit in self._edits if edit.revision > revision]

    def _touch_state(self) -> None:
        self._state_version += 1
        self._position = None

    def _touch_data(self) -> None:
        self._data_version += 1
        self._position = None
