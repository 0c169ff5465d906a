"""Every value of every sample, on disk in chunks, found by step or by sample; the oldest are dropped beyond a bound.

Values gather in memory until there are enough for a chunk. What has not been written is read again from the stream, as
is what no snapshot of the columns holds: `flush` comes before each snapshot. Bodies of chunks are mapped, not read, and
each is checked against its checksum before it is used for the first time.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from weightslab_common.calls import stop_if_unwanted

from weightslab_ledger.chunks import Chunk, Entries, Seen, Selection, by_row, joined, joined_seen, pack_chunk
from weightslab_ledger.curves import Key
from weightslab_ledger.segments import Place, Segments
from weightslab_ledger.sequences import SeenSequences

log = logging.getLogger(__name__)

# Entries that wait in memory for their chunk.
CHUNK_ENTRIES = 1 << 18
_ALIGN_BYTES = 64


@dataclass(frozen=True, slots=True, order=True)
class Series:
    """What always comes together: some signals of one branch in one mode."""

    branch: str
    mode: int
    signals: tuple[str, ...]

    def number(self, key: Key) -> int | None:
        """Which of the signals a curve is of."""
        if (key.branch, key.mode) != (self.branch, self.mode) or key.signal not in self.signals:
            return None
        return self.signals.index(key.signal)


@dataclass(slots=True, eq=False)
class _Stored:
    """A chunk on disk. `checked`: its checksum was found to hold."""

    series: Series
    header: dict[str, Any]
    place: Place
    checked: bool = False


@dataclass(slots=True)
class _Waiting:
    """Entries in the order they came, and the messages (run id, sequence) they came in."""

    parts: list[Entries] = field(default_factory=list)
    messages: list[tuple[str, int]] = field(default_factory=list)


class ValueLog:
    """The values of an experiment. One writer; readers may come from other threads."""

    def __init__(self, segments: Segments, keep_bytes: int) -> None:
        self.segments = segments
        self.seen = SeenSequences()
        self.damage = segments.damage
        self._keep_bytes = keep_bytes
        self._stored: list[_Stored] = []
        self._waiting: dict[Series, _Waiting] = {}
        self._waiting_count = 0
        # Held while entries go from memory to disk as readers see it, and while a reader notes what there is.
        self._guard = threading.Lock()

    def load(self) -> None:
        """Find the chunks that are there; their bodies are not read. Blocks; raises OSError."""
        for record in self.segments.load(bodies=False):
            header = record.header
            for run_id, sequence in header["messages"]:
                self.seen.add(run_id, sequence)
            series = Series(header["branch"], header["mode"], tuple(header["signals"]))
            self._stored.append(_Stored(series, header, record.place))

    def append(self, series: Series, entries: Entries, *, run_id: str, sequence: int) -> None:
        """Take in the entries of a message, one at least. They are on disk after the next `flush`."""
        with self._guard:
            waiting = self._waiting.setdefault(series, _Waiting())
            waiting.parts.append(entries)
            waiting.messages.append((run_id, sequence))
        self.seen.add(run_id, sequence)
        self._waiting_count += len(entries.rows)

    @property
    def full(self) -> bool:
        """Whether enough entries wait in memory to be written."""
        return self._waiting_count >= CHUNK_ENTRIES

    def flush(self) -> None:
        """Write what waits in memory. Blocks; raises OSError, and what was not written waits on."""
        for series, waiting in list(self._waiting.items()):
            packed, body = pack_chunk(by_row(joined(waiting.parts)))
            header = {
                "branch": series.branch,
                "mode": series.mode,
                "signals": series.signals,
                "messages": waiting.messages,
                **packed,
            }
            place = self.segments.append(header, body, align=_ALIGN_BYTES)
            with self._guard:
                self._stored.append(_Stored(series, header, place, checked=True))
                del self._waiting[series]
            self._waiting_count -= packed["count"]
        self.segments.sync()
        self._drop()

    def _drop(self) -> None:
        dropped = set(self.segments.drop_oldest(self._keep_bytes))
        if dropped:
            with self._guard:
                self._stored = [chunk for chunk in self._stored if chunk.place.path not in dropped]

    def close(self) -> None:
        """Write what waits and finish the file. Blocks; raises OSError."""
        if self._waiting:
            self.flush()
        self.segments.close()

    def check_next(self) -> bool:
        """Check a chunk that was not checked yet, so that damage is reported before somebody asks; false without one.

        Blocks; raises OSError.
        """
        with self._guard:
            unchecked = next((chunk for chunk in self._stored if not chunk.checked), None)
        if unchecked is not None:
            self._opened(unchecked)
        return unchecked is not None

    def _opened(self, chunk: _Stored) -> Chunk | None:
        """A chunk to read from; None when it was dropped, or is damaged and was set aside just now."""
        try:
            body = self.segments.body(chunk.place)
        except FileNotFoundError:
            # Somebody deleted the file.
            self._forget(chunk)
            return None
        if not chunk.checked and not self._holds(chunk, body):
            return None
        return Chunk(chunk.header, body)

    def _holds(self, chunk: _Stored, body: memoryview) -> bool:
        chunk.checked = chunk.place.holds(body)
        if chunk.checked:
            return True
        if self._forget(chunk):
            self.damage.records += 1
            self.damage.bytes += chunk.place.size_bytes
        log.error(
            "%s is damaged: %d values of %s at %d are left out",
            chunk.place.path,
            chunk.header["count"],
            ", ".join(chunk.series.signals),
            chunk.place.offset,
        )
        return False

    def _forget(self, chunk: _Stored) -> bool:
        """False when it was forgotten already."""
        with self._guard:
            if chunk not in self._stored:
                return False
            self._stored.remove(chunk)
            return True

    def keys(self) -> list[Key]:
        """The curves that have values of samples here."""
        with self._guard:
            known = {chunk.series for chunk in self._stored} | self._waiting.keys()
        return sorted(Key(signal, series.branch, series.mode) for series in known for signal in series.signals)

    def _of(self, key: Key) -> tuple[list[tuple[int, _Stored]], list[tuple[int, Entries]]]:
        """What there is of a curve, on disk and in memory, each with the number of the signal."""
        with self._guard:
            stored = [(n, chunk) for chunk in self._stored if (n := chunk.series.number(key)) is not None]
            waiting = [
                (n, part)
                for series, held in self._waiting.items()
                if (n := series.number(key)) is not None
                for part in held.parts
            ]
        return stored, waiting

    def step_range(self, key: Key) -> tuple[int, int] | None:
        """The first and the last step of which values are kept."""
        stored, waiting = self._of(key)
        first = [chunk.header["first"] for _, chunk in stored] + [int(part.steps.min()) for _, part in waiting]
        last = [chunk.header["last"] for _, chunk in stored] + [int(part.steps.max()) for _, part in waiting]
        return (min(first), max(last)) if first else None

    def scan(
        self, key: Key, *, first_step: int | None = None, last_step: int | None = None, wanted: Selection | None = None
    ) -> Iterator[Seen]:
        """The values of a curve in a range of steps, of all samples or those that are wanted. Blocks.

        In the order they came, but for chunks, which are ordered by row and only within a row as they came. Raises
        DeadlineExceeded when nobody waits for them any more.
        """
        stored, waiting = self._of(key)
        low = -(2**63) if first_step is None else first_step
        high = 2**63 - 1 if last_step is None else last_step
        for number, chunk in stored:
            stop_if_unwanted()
            if chunk.header["first"] > high or chunk.header["last"] < low:
                continue
            opened = self._opened(chunk)
            if opened is not None:
                yield _between(opened.entries(number, wanted), low, high)
        for number, part in waiting:
            mine = part.of(number)
            yield _between(mine if wanted is None else mine.chosen(wanted.of(mine.rows)), low, high)

    def find(self, key: Key, step: int) -> Seen | None:
        """The values at `step`, or at the newest step before it that has any; None when there is none. Blocks."""
        stored, waiting = self._of(key)
        found: list[Seen] = []
        for number, part in waiting:
            usable = (part.steps <= step) & ~np.isnan(part.values[number])
            if usable.any():
                newest = usable & (part.steps == part.steps[usable].max())
                found.append(part.of(number).chosen(newest))
        best = max((int(part.steps[0]) for part in found), default=None)
        for number, chunk in sorted(stored, key=lambda item: -item[1].header["last"]):
            if best is not None and chunk.header["last"] < best:
                break
            if chunk.header["first"] > step or (opened := self._opened(chunk)) is None:
                continue
            newest_here = opened.step_before(number, step)
            if newest_here is not None:
                # What came first stands first.
                found.insert(0, newest_here)
                best = max(int(newest_here.steps[0]), best if best is not None else int(newest_here.steps[0]))
        return joined_seen([part for part in found if int(part.steps[0]) == best]) if found else None


def _between(seen: Seen, low: int, high: int) -> Seen:
    inside = (seen.steps >= low) & (seen.steps <= high)
    return seen if inside.all() else seen.chosen(inside)
