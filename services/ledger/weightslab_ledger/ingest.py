"""Taking in what trainers publish: registrations, points of curves and values of samples, each message once.

Nothing here decides twice: a message is known by (run id, sequence), curves and values know from their files what they
hold, columns from their snapshot, and the stream is read again from the oldest of these positions.
"""

from __future__ import annotations

import asyncio
import logging
import struct
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from weightslab_common import subjects
from weightslab_common.columns import F32, I64, U32, unpack
from weightslab_common.errors import InvalidArgument
from weightslab_common.messages import parsed
from weightslab_proto.weightslab.bus.v1 import SampleValueBatch, SignalBatch

from weightslab_ledger.catalog import Catalog, OutOfOrder
from weightslab_ledger.catalog_store import CatalogStore
from weightslab_ledger.chunks import Entries
from weightslab_ledger.columns import Batch, column_name
from weightslab_ledger.curves import CurveLog, CurveTable, Points, points_of
from weightslab_ledger.former_values import convert
from weightslab_ledger.metrics import Counts
from weightslab_ledger.segments import SEGMENT_BYTES, Damage, Segments
from weightslab_ledger.snapshots import Snapshot, load_newest, write_snapshot
from weightslab_ledger.value_log import Series, ValueLog
from weightslab_ledger.wire import read_registration

log = logging.getLogger(__name__)

# Messages that wait for what must come before them; the oldest are given up beyond it.
MAX_WAITING = 1024
MAX_WAITING_BYTES = 64 * 1024**2
# From this size on values are worked into their columns beside the event loop.
_THREAD_VALUES = 20_000


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the stream. `position`: its sequence in the stream."""

    what: str
    content: bytes
    position: int


@dataclass(slots=True)
class Ingest:
    """Everything that is taken in for one experiment, and where it is kept."""

    catalog: Catalog
    catalog_store: CatalogStore
    folder: Path
    token: int
    values_bytes: int
    curves: CurveTable = field(default_factory=CurveTable)
    counts: Counts = field(default_factory=Counts)
    snapshot: Snapshot = field(init=False)
    curve_log: CurveLog = field(init=False)
    values: ValueLog = field(init=False)
    # Everything up to here was taken in, except what waits.
    position: int = 0
    _waiting: deque[Message] = field(default_factory=deque)
    _waiting_bytes: int = 0
    _snapshot_values: int = 0

    def load(self) -> None:
        """Read what is on disk, and begin files of our own. Blocks."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.snapshot = load_newest(self.folder)
        self.curve_log = CurveLog(Segments(self.folder, "curves", token=self.token))
        self.curve_log.load(self.curves)
        # Files are dropped whole, so a small bound needs small ones.
        file_bytes = min(SEGMENT_BYTES, self.values_bytes // 8)
        values = Segments(self.folder, "values", token=self.token, max_bytes=file_bytes)
        self.values = ValueLog(values, self.values_bytes)
        self.values.load()
        self.curve_log.segments.open()
        values.open()
        self.position = min(self.snapshot.position, self.curve_log.position)
        self._snapshot_values = self.snapshot.columns.value_version

    def convert_former(self) -> None:
        """Take over values of a former format; the catalog must be there. Blocks; raises OSError."""
        convert(self.folder, self.values, self.catalog)

    def forget_position(self) -> None:
        """The stream is another one than before: read it from its start; what is known is not taken in twice."""
        self.position = self.snapshot.position = 0

    async def take(self, messages: list[Message]) -> None:
        """Take in messages; when this returns they are durable or can be read again. Raises Unavailable, OSError.

        After an error the same messages may be given again.
        """
        points: list[tuple[SignalBatch, list[Points]]] = []
        for message in messages:
            if not await self._take_one(message, points):
                self._wait(message)
        if points:
            await asyncio.to_thread(self.curve_log.segments.sync)
        for batch, parts in points:
            if not self.curve_log.seen.add(batch.run_id, batch.sequence):
                self.counts.duplicates += 1
                continue
            for part in parts:
                self.curves.append(part)
                self.counts.points += len(part.steps)
        self.counts.messages += len(messages)
        if messages:
            self.position = max(self.position, max(message.position for message in messages))

    async def _take_one(self, message: Message, points: list[tuple[SignalBatch, list[Points]]]) -> bool:
        """Take in one message; false when something must come before it."""
        try:
            match message.what:
                case subjects.SIGNALS:
                    self._take_signals(message, points)
                case subjects.VALUES:
                    await self._take_values(message)
                case subjects.SAMPLES:
                    await self._take_registration(message)
        except OutOfOrder:
            return False
        except (InvalidArgument, ValueError, EOFError, IndexError, struct.error) as error:
            self.counts.refused += 1
            log.error("a message on %s at %d was left out: %s", message.what, message.position, error)
        return True

    def _wait(self, message: Message) -> None:
        if message in self._waiting:
            return
        self._waiting.append(message)
        self._waiting_bytes += len(message.content)
        while len(self._waiting) > MAX_WAITING or self._waiting_bytes > MAX_WAITING_BYTES:
            lost = self._waiting.popleft()
            self._waiting_bytes -= len(lost.content)
            self.counts.dropped += 1
            log.error("a message on %s at %d was given up: its registration has not come", lost.what, lost.position)

    def _take_signals(self, message: Message, points: list[tuple[SignalBatch, list[Points]]]) -> None:
        batch = parsed(SignalBatch, message.content)
        _check_run(batch.run_id)
        if (batch.run_id, batch.sequence) in self.curve_log.seen:
            self.counts.duplicates += 1
            return
        parts = points_of(batch)
        self.curve_log.append(batch, parts, position=self.position)
        points.append((batch, parts))

    async def _take_registration(self, message: Message) -> None:
        part, metadata = read_registration(message.content)
        planned = self.catalog.plan(part, metadata)
        if planned is None:
            return
        await self.catalog_store.append(planned, token=self.token, part_count=self.catalog.part_count)
        self.catalog.apply(planned)
        if part.complete:
            self._tell_registered(part.split, part.sample_count)
        await self._retry_waiting()

    def _tell_registered(self, split: str, sample_count: int) -> None:
        log.info("split %r is registered: %d samples", split, sample_count)
        change = self.catalog.split_named(split).change
        if change is not None:
            log.warning(
                "split %r is another dataset than before: %s; tags and values of what is gone are kept", split, change
            )

    async def _retry_waiting(self) -> None:
        waiting, self._waiting, self._waiting_bytes = self._waiting, deque(), 0
        for message in waiting:
            # A registration that waited takes in the next one by itself.
            if not await self._take_one(message, []):
                self._wait(message)

    async def _take_values(self, message: Message) -> None:
        batch = parsed(SampleValueBatch, message.content)
        _check_run(batch.run_id)
        known = (batch.run_id, batch.sequence)
        in_columns, in_values = known in self.snapshot.seen, known in self.values.seen
        if in_columns and in_values:
            self.counts.duplicates += 1
            return
        registered = self.catalog.rows_of(batch.registration_id)
        positions = unpack(batch.positions, U32, name="positions")
        steps = unpack(batch.steps, I64, count=len(positions), name="steps")
        epochs = unpack(batch.epochs, U32, count=len(positions), name="epochs")
        if len(positions) and int(positions.max()) >= len(registered):
            raise InvalidArgument(f"position {int(positions.max())} in a registration of {len(registered)} samples")
        columns = [
            (
                column_name(column.signal, int(batch.mode)),
                unpack(column.values, F32, count=len(positions), name=column.signal),
            )
            for column in batch.columns
        ]
        rows = registered[positions]
        if not in_values and len(positions) and columns:
            await self._keep(batch, Entries(rows, steps, epochs, tuple(values for _, values in columns)))
        if in_columns:
            return
        entries = Batch(rows, steps, epochs, self.catalog.row_count)
        if len(positions) * len(columns) < _THREAD_VALUES:
            self._update(columns, entries)
        else:
            await asyncio.to_thread(self._update, columns, entries)
        self.snapshot.seen.add(*known)
        self.counts.values += len(positions) * len(columns)

    async def _keep(self, batch: SampleValueBatch, entries: Entries) -> None:
        series = Series(batch.branch, int(batch.mode), tuple(column.signal for column in batch.columns))
        if self.values.full:
            # Before more is taken: while the disk is full nothing is, and memory stays bounded.
            await asyncio.to_thread(self.values.flush)
        self.values.append(series, entries, run_id=batch.run_id, sequence=batch.sequence)

    def _update(self, columns: list[tuple[str, NDArray[np.float32]]], entries: Batch) -> None:
        for name, values in columns:
            self.snapshot.columns.update(name, entries, values)

    @property
    def damage(self) -> Damage:
        """What was found damaged on disk and left out."""
        found = [log.segments.damage for log in (self.curve_log, self.values)]
        aside = [path.stat().st_size for path in self.folder.glob("*.damaged")]
        return Damage(
            records=sum(damage.records for damage in found) + len(aside),
            bytes=sum(damage.bytes for damage in found) + sum(aside),
        )

    @property
    def snapshot_due(self) -> bool:
        """Whether values came since the last snapshot."""
        return self.snapshot.columns.value_version != self._snapshot_values

    async def save(self) -> None:
        """Write a snapshot. Raises OSError."""
        await asyncio.to_thread(self.values.flush)
        waiting = min((message.position - 1 for message in self._waiting), default=self.position)
        self.snapshot.position = min(self.position, waiting)
        self._snapshot_values = self.snapshot.columns.value_version
        await asyncio.to_thread(write_snapshot, self.folder, self.snapshot, token=self.token)

    def close(self) -> None:
        """Finish the files. Blocks."""
        self.curve_log.segments.close()
        self.values.close()


def _check_run(run_id: str) -> None:
    # The generated code takes nearly any bytes for an empty message.
    if not run_id:
        raise InvalidArgument("the message names no run")


def message_kind(subject: str) -> str:
    """What a subject of the stream carries."""
    return subject.rsplit(".", 1)[1]
