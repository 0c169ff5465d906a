"""From records to bus messages: thousands of values per message, never one. Pure.

What a loss handed off at several steps is derived at once: NumPy needs about as long for sixteen small batches as for
one, and while it works the training thread may wait for the interpreter.
"""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from weightslab_common.columns import F32, F64, I64, U32, pack
from weightslab_common.messages import made
from weightslab_proto.weightslab.bus.v1 import SampleValueBatch, SampleValueColumn, SignalBatch, SignalColumn
from weightslab_proto.weightslab.v1 import Mode

from weightslab.derivation import Columns
from weightslab.records import Batch, CurvesRecord, Moment, Record, landed
from weightslab.registration import COLUMN_BYTES
from weightslab.split import Split

log = logging.getLogger(__name__)

# A group is derived once it has so much, so that what NumPy needs beside it stays small.
_GROUP_BYTES = 512 * 1024


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


@dataclass(slots=True)
class _Handed:
    """A record whose columns are still to be derived, and where its point is, if it has one."""

    record: Record
    batch: Batch
    columns: dict[str, NDArray[Any]]
    curve: _Curve | None
    point: int


@dataclass(slots=True)
class _Group:
    """Records of one signal, one after the other, whose columns have the same form and are derived alike."""

    form: tuple[Any, ...]
    handed: list[_Handed] = field(default_factory=list)
    size_bytes: int = 0


class Fold:
    """What the records of one drain say, as messages; values of one kind stay in their order."""

    def __init__(self, records: Iterable[Record | CurvesRecord]) -> None:
        self._curves: dict[tuple[str, int], dict[str, _Curve]] = {}
        self._values: dict[tuple[str, int, str, frozenset[str]], _Values] = {}
        # The one of each signal that still grows.
        self._groups: dict[tuple[str, int, str], _Group] = {}
        for record in records:
            if isinstance(record, CurvesRecord):
                self._add_norms(record)
            else:
                self._add(record)
        for group in self._groups.values():
            self._derive(group)

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
            size = max(1, COLUMN_BYTES // row_bytes)
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
                        made(SampleValueColumn, signal=name, values=pack(array[part], F32))
                        for name, array in columns.items()
                    ],
                )

    def _add_norms(self, record: CurvesRecord) -> None:
        squares: dict[str, float] = {}
        for signal, norm in zip(record.signals, landed(record.columns["norms"]).tolist(), strict=True):
            squares[signal] = squares.get(signal, 0.0) + norm * norm
        for signal, square in squares.items():
            self._add_point(record.moment, signal, value=math.sqrt(square), deviation=float("nan"))

    def _add(self, record: Record) -> None:
        curve, point = None, 0
        value = _number(record)
        if value is not None:
            curve, point = self._add_point(record.moment, record.signal, value=value, deviation=float("nan"))
        if not record.columns or record.batch is None or not len(record.batch.positions):
            return
        columns = {name: landed(column) for name, column in record.columns.items()}
        form = (
            record.batch.split,
            record.derive,
            *((name, column.dtype, column.shape[1:]) for name, column in columns.items()),
        )
        key = (record.moment.branch, record.moment.mode, record.signal)
        group = self._groups.get(key)
        if group is None or group.form != form or group.size_bytes > _GROUP_BYTES:
            if group is not None:
                self._derive(group)
            group = self._groups[key] = _Group(form)
        group.handed.append(_Handed(record, record.batch, columns, curve, point))
        group.size_bytes += sum(column.nbytes for column in columns.values())

    def _add_point(self, moment: Moment, signal: str, *, value: float, deviation: float) -> tuple[_Curve, int]:
        """Where the point is now."""
        curve = self._curves.setdefault((moment.branch, moment.mode), {}).setdefault(signal, _Curve())
        curve.steps.append(moment.step)
        curve.values.append(value)
        curve.deviations.append(deviation)
        return curve, len(curve.steps) - 1

    def _derive(self, group: _Group) -> None:
        """Add the values of a group. A fault in those of one record costs these only."""
        handed = group.handed
        record = handed[0].record
        counts = np.array([len(each.batch.positions) for each in handed])
        try:
            arrays = {
                name: np.concatenate([each.columns[name] for each in handed]) if len(handed) > 1 else column
                for name, column in handed[0].columns.items()
            }
            columns = _plain(arrays) if record.derive is None else record.derive(arrays)
            if any(len(column) != counts.sum() for column in columns.values()):
                raise ValueError(f"they are not one for each of {counts.sum()} samples")
        except (IndexError, ValueError) as error:
            if len(handed) > 1:
                for each in handed:
                    self._derive(_Group(group.form, [each]))
                return
            log.warning("values of samples of %s could not be derived: %s", record.signal, error)
            return
        own = columns.get(record.signal.rpartition("/")[2])
        if own is not None:
            for each, deviation in zip(handed, _deviations(own, counts), strict=True):
                if each.curve is not None:
                    each.curve.deviations[each.point] = deviation
        self._add_values(handed, counts, columns)

    def _add_values(self, handed: Sequence[_Handed], counts: NDArray[np.int64], columns: Columns) -> None:
        record, split = handed[0].record, handed[0].batch.split
        prefix = record.signal.rpartition("/")[0] or split.name
        named = {f"{prefix}/{name}": array for name, array in columns.items()}
        key = (record.moment.branch, record.moment.mode, split.name, frozenset(named))
        values = self._values.setdefault(key, _Values(split))
        values.positions += [each.batch.positions for each in handed]
        values.steps.append(np.repeat(np.array([each.record.moment.step for each in handed]), counts))
        values.epochs.append(np.repeat(np.array([each.batch.epoch for each in handed]), counts))
        for name, array in named.items():
            values.columns[name].append(array)


def _number(record: Record) -> float | None:
    """What the user's callable returned, as the point of a curve; None when it is no number."""
    result = landed(record.result)
    if result is None or isinstance(result, float):
        return result
    try:
        return float(np.asarray(result).reshape(-1)[0])
    except (TypeError, ValueError, IndexError, RuntimeError) as error:
        # Whatever it is, the other records of the drain are not to go with it.
        log.warning("%s returned a %s, which makes no curve: %s", record.signal, type(result).__name__, error)
        return None


def _plain(arrays: dict[str, NDArray[Any]]) -> Columns:
    """Values as they were given, one per sample."""
    return {name: array.astype(np.float32, copy=False).reshape(-1) for name, array in arrays.items()}


def _deviations(values: NDArray[np.float32], counts: NDArray[np.int64]) -> list[float]:
    """Standard deviation of the finite values of each batch, which lie one after the other; NaN where there is none."""
    starts = np.concatenate([[0], np.cumsum(counts[:-1])])
    finite = np.isfinite(values)
    with np.errstate(all="ignore"):
        number = np.add.reduceat(finite, starts, dtype=np.float64)
        mean = np.add.reduceat(np.where(finite, values, 0), starts, dtype=np.float64) / number
        away = np.where(finite, values - np.repeat(mean, counts), 0)
        deviations: list[float] = np.sqrt(np.add.reduceat(away * away, starts) / number).tolist()
    return deviations


def _curve_columns(signal: str, curve: _Curve) -> Iterator[SignalColumn]:
    size = COLUMN_BYTES // 24
    for start in range(0, len(curve.steps), size):
        part = slice(start, start + size)
        yield made(
            SignalColumn,
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
        if part and size + column_bytes > COLUMN_BYTES:
            yield part
            part, size = [], 0
        part.append(column)
        size += column_bytes
    if part:
        yield part
