"""The samples behind each step, kept on disk as the messages they came in, the oldest dropped beyond a bound."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from weightslab_common.columns import F32, I64, U32, unpack
from weightslab_proto.weightslab.bus.v1 import SampleValueBatch

from weightslab_ledger.curves import Key
from weightslab_ledger.segments import Segments, read_record
from weightslab_ledger.sequences import SeenSequences


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where the values of some steps of a curve are."""

    first_step: int
    last_step: int
    path: Path
    offset: int


@dataclass(frozen=True, slots=True)
class StepSamples:
    """`positions` (uint32) in the registration, `values` float32."""

    step: int
    registration_id: str
    positions: NDArray[np.uint32]
    values: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Logged:
    """Values of one signal in one message: `positions` uint32, `steps` int64, `values` float32, one entry each."""

    registration_id: str
    positions: NDArray[np.uint32]
    steps: NDArray[np.int64]
    values: NDArray[np.float32]


@dataclass(slots=True)
class StepSampleLog:
    """Messages with per-sample values, found by curve and step."""

    segments: Segments
    keep_bytes: int
    seen: SeenSequences = field(default_factory=SeenSequences)
    position: int = 0
    _places: dict[Key, list[Place]] = field(default_factory=dict)
    _unchecked_bytes: int = 0

    def load(self) -> None:
        for record in self.segments.load():
            header = record.header
            if not self.seen.add(header["run"], header["sequence"]):
                continue
            self.position = max(self.position, header["position"])
            keys = [Key(signal, header["branch"], header["mode"]) for signal in header["signals"]]
            self._note(keys, Place(header["first"], header["last"], record.path, record.offset))

    def append(self, batch: SampleValueBatch, content: bytes, *, steps: NDArray[np.int64], position: int) -> None:
        """Keep a message, whose bytes are `content`; durable after the next `segments.sync`."""
        signals = [column.signal for column in batch.columns]
        first, last = int(steps.min()), int(steps.max())
        header = {
            "position": position,
            "run": batch.run_id,
            "sequence": batch.sequence,
            "branch": batch.branch,
            "mode": int(batch.mode),
            "signals": signals,
            "first": first,
            "last": last,
        }
        path, offset = self.segments.append(header, content)
        self._note([Key(signal, batch.branch, int(batch.mode)) for signal in signals], Place(first, last, path, offset))
        self._unchecked_bytes += len(content)
        if self._unchecked_bytes > self.keep_bytes // 16:
            self._unchecked_bytes = 0
            self._drop()

    def _note(self, keys: list[Key], place: Place) -> None:
        for key in keys:
            places = self._places.setdefault(key, [])
            if places and place < places[-1]:
                insort(places, place)
            else:
                places.append(place)

    def _drop(self) -> None:
        dropped = set(self.segments.drop_oldest(self.keep_bytes))
        if dropped:
            for key, places in self._places.items():
                self._places[key] = [place for place in places if place.path not in dropped]

    def keys(self) -> list[Key]:
        """The curves that have values of samples here."""
        return sorted(self._places)

    def step_range(self, key: Key) -> tuple[int, int] | None:
        """The first and the last step of which values are kept."""
        places = list(self._places.get(key, []))
        return (places[0].first_step, max(place.last_step for place in places)) if places else None

    def scan(self, key: Key, *, first_step: int, last_step: int) -> Iterator[Logged]:
        """All values of a curve whose messages touch a range of steps, by message. Blocks."""
        for place in list(self._places.get(key, [])):
            if place.first_step > last_step or place.last_step < first_step:
                continue
            record = read_record(place.path, place.offset)
            if record is None:
                continue
            batch = SampleValueBatch().parse(bytes(record.body))
            values = next(unpack(column.values, F32) for column in batch.columns if column.signal == key.signal)
            yield Logged(batch.registration_id, unpack(batch.positions, U32), unpack(batch.steps, I64), values)

    def find(self, key: Key, step: int) -> list[StepSamples]:
        """The samples of the nearest step at or before `step` that is kept; empty when there is none.

        A step's samples may be spread over several messages.
        """
        places = self._places.get(key, [])
        end = bisect_right(places, step, key=lambda place: place.first_step)
        best: list[StepSamples] = []
        for place in reversed(places[:end]):
            if best and place.last_step < best[0].step:
                break
            found = _samples_at(place, key, step)
            if found is None:
                continue
            if best and found.step > best[0].step:
                best = []
            if not best or found.step == best[0].step:
                best.append(found)
        return best[::-1]


def _samples_at(place: Place, key: Key, step: int) -> StepSamples | None:
    """The newest step at or before `step` within one message."""
    record = read_record(place.path, place.offset)
    if record is None:
        return None
    batch = SampleValueBatch().parse(bytes(record.body))
    values = next(unpack(column.values, F32) for column in batch.columns if column.signal == key.signal)
    steps = unpack(batch.steps, I64)
    usable = (steps <= step) & ~np.isnan(values)
    if not usable.any():
        return None
    nearest = int(steps[usable].max())
    chosen = usable & (steps == nearest)
    return StepSamples(nearest, batch.registration_id, unpack(batch.positions, U32)[chosen], values[chosen])
