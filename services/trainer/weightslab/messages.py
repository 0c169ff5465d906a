"""From records to bus messages: thousands of values per message, never one. Pure."""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from weightslab_common.bus import PAYLOAD_TARGET_BYTES
from weightslab_common.columns import F32, F64, I64, U32, pack
from weightslab_proto.weightslab.bus.v1 import (
    MetadataColumn,
    SampleValueBatch,
    SampleValueColumn,
    SignalBatch,
    SignalColumn,
    SplitRegistration,
)
from weightslab_proto.weightslab.v1 import Mode

from weightslab.derivation import Columns
from weightslab.records import CurvesRecord, Moment, Record, landed
from weightslab.split import Catalog, Split

log = logging.getLogger(__name__)

# Room for the names beside the numbers.
_COLUMN_BYTES = PAYLOAD_TARGET_BYTES - 64 * 1024


@dataclass(slots=True)
class _Curve:
    steps: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    deviations: list[float] = field(default_factory=list)


@dataclass(slots=True)
class _Values:
    split: Split
    positions: list[NDArray[np.uint32]] = field(default_factory=list)
    steps: list[NDArray[np.int64]] = field(default_factory=list)
    epochs: list[NDArray[np.uint32]] = field(default_factory=list)
    columns: dict[str, list[NDArray[np.float32]]] = field(default_factory=lambda: defaultdict(list))


class Fold:
    """Collects the records of one drain and gives messages; values of one kind stay in their order."""

    def __init__(self) -> None:
        self._curves: dict[tuple[str, int], dict[str, _Curve]] = {}
        self._values: dict[tuple[str, int, str, frozenset[str]], _Values] = {}

    def add(self, record: Record | CurvesRecord) -> None:
        if isinstance(record, CurvesRecord):
            self._add_norms(record)
            return
        columns = _columns(record)
        own = columns.get(record.signal.rpartition("/")[2])
        if record.result is not None:
            value = float(np.asarray(landed(record.result)).reshape(-1)[0])
            self._add_point(record.moment, record.signal, value=value, deviation=_deviation(own))
        if columns and record.batch:
            self._add_values(record, columns)

    def signal_batches(self) -> Iterator[SignalBatch]:
        """Without run and sequence, which the sender fills in."""
        for (branch, mode), curves in self._curves.items():
            columns = [column for signal, curve in curves.items() for column in _curve_columns(signal, curve)]
            for part in _parts(columns):
                yield SignalBatch(branch=branch, mode=Mode(mode), columns=part)

    def value_batches(self) -> Iterator[SampleValueBatch]:
        """Without run and sequence, which the sender fills in."""
        for (branch, mode, _, _), values in self._values.items():
            positions = np.concatenate(values.positions)
            steps = np.concatenate(values.steps)
            epochs = np.concatenate(values.epochs)
            columns = {name: np.concatenate(arrays) for name, arrays in values.columns.items()}
            row_bytes = 4 + 8 + 4 + 4 * len(columns)
            size = max(1, _COLUMN_BYTES // row_bytes)
            for start in range(0, len(positions), size):
                part = slice(start, start + size)
                yield SampleValueBatch(
                    branch=branch,
                    mode=Mode(mode),
                    split=values.split.name,
                    registration_id=values.split.catalog.registration_id,
                    positions=pack(positions[part], U32),
                    steps=pack(steps[part], I64),
                    epochs=pack(epochs[part], U32),
                    columns=[
                        SampleValueColumn(signal=name, values=pack(array[part], F32)) for name, array in columns.items()
                    ],
                )

    def _add_norms(self, record: CurvesRecord) -> None:
        squares: dict[str, float] = {}
        for signal, norm in zip(record.signals, landed(record.columns["norms"]).tolist(), strict=True):
            squares[signal] = squares.get(signal, 0.0) + norm * norm
        for signal, square in squares.items():
            self._add_point(record.moment, signal, value=math.sqrt(square), deviation=float("nan"))

    def _add_point(self, moment: Moment, signal: str, *, value: float, deviation: float) -> None:
        curve = self._curves.setdefault((moment.branch, moment.mode), {}).setdefault(signal, _Curve())
        curve.steps.append(moment.step)
        curve.values.append(value)
        curve.deviations.append(deviation)

    def _add_values(self, record: Record, columns: Columns) -> None:
        assert record.batch is not None
        split, positions, epoch = record.batch
        prefix = record.signal.rpartition("/")[0] or split.name
        named = {f"{prefix}/{name}": array for name, array in columns.items()}
        key = (record.moment.branch, record.moment.mode, split.name, frozenset(named))
        values = self._values.setdefault(key, _Values(split))
        values.positions.append(positions)
        values.steps.append(np.full(len(positions), record.moment.step, dtype=np.int64))
        values.epochs.append(np.full(len(positions), epoch, dtype=np.uint32))
        for name, array in named.items():
            values.columns[name].append(array)


def registrations(catalog: Catalog) -> Iterator[SplitRegistration]:
    """The parts of a registration, without run and sequence."""
    for first, last in _catalog_ranges(catalog):
        yield SplitRegistration(
            registration_id=catalog.registration_id,
            split=catalog.split,
            sample_count=len(catalog.uids),
            first_position=first,
            uids=list(catalog.uids[first:last]),
            metadata=[
                MetadataColumn(
                    name=column.name,
                    numbers=b"" if column.numbers is None else pack(column.numbers[first:last], F64),
                    texts=list(column.texts[first:last]),
                )
                for column in catalog.metadata
            ],
            class_names=list(catalog.class_names) if first == 0 else [],
            media_kind=catalog.media_kind,
            slice_count=catalog.slice_count,
            layers=list(catalog.layers),
            complete=last == len(catalog.uids),
        )


def _catalog_ranges(catalog: Catalog) -> Iterator[tuple[int, int]]:
    numbers = sum(column.numbers is not None for column in catalog.metadata)
    texts = [column.texts for column in catalog.metadata if column.texts]
    first, size = 0, 0
    for position, uid in enumerate(catalog.uids):
        size += 8 * numbers + 4 + len(uid.encode()) + sum(4 + len(column[position].encode()) for column in texts)
        if size > _COLUMN_BYTES:
            yield first, position + 1
            first, size = position + 1, 0
    if first < len(catalog.uids) or not catalog.uids:
        yield first, len(catalog.uids)


def _columns(record: Record) -> Columns:
    """float32 columns of a record. A fault in them costs these values only."""
    if not record.columns:
        return {}
    arrays: dict[str, Any] = {name: landed(column) for name, column in record.columns.items()}
    try:
        if record.derive is not None:
            return record.derive(arrays)
    except (IndexError, ValueError) as error:
        log.warning("values of samples of %s could not be derived: %s", record.signal, error)
        return {}
    return {name: np.asarray(array, dtype=np.float32).reshape(-1) for name, array in arrays.items()}


def _deviation(values: NDArray[np.float32] | None) -> float:
    """Standard deviation of the values of the samples behind a point; NaN when they are not known."""
    if values is None or not len(values):
        return float("nan")
    with np.errstate(all="ignore"):
        finite = values[np.isfinite(values)]
        return float(finite.std(dtype=np.float64)) if len(finite) else float("nan")


def _curve_columns(signal: str, curve: _Curve) -> Iterator[SignalColumn]:
    size = _COLUMN_BYTES // 24
    for start in range(0, len(curve.steps), size):
        part = slice(start, start + size)
        yield SignalColumn(
            signal=signal,
            steps=pack(curve.steps[part], I64),
            values=pack(curve.values[part], F64),
            deviations=pack(curve.deviations[part], F64),
        )


def _parts(columns: Sequence[SignalColumn]) -> Iterator[list[SignalColumn]]:
    part: list[SignalColumn] = []
    size = 0
    for column in columns:
        column_bytes = len(column.steps) * 3 + len(column.signal)
        if part and size + column_bytes > _COLUMN_BYTES:
            yield part
            part, size = [], 0
        part.append(column)
        size += column_bytes
    if part:
        yield part
