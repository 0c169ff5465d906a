"""Reads values as they were kept before there were chunks, and moves them into a value log."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from weightslab_common.columns import F32, I64, U32, unpack
from weightslab_common.messages import parsed
from weightslab_proto.weightslab.bus.v1 import SampleValueBatch

from weightslab_ledger.catalog import Catalog, OutOfOrder
from weightslab_ledger.chunks import Entries
from weightslab_ledger.segments import Segments
from weightslab_ledger.value_log import Series, ValueLog

log = logging.getLogger(__name__)

_NAME = "steps"
# Values by epoch, without steps; each of them was in a message as well.
_EPOCHS_FOLDER = "history"


def convert(folder: Path, values: ValueLog, catalog: Catalog) -> None:
    """Move messages of former files into `values`, then delete those files. Blocks; raises OSError.

    When it is cut short it can be done again. What names an unknown registration is left out, and counted in the log.
    """
    former = Segments(folder, _NAME, token=0)
    paths = former.paths()
    if not paths and not (folder / _EPOCHS_FOLDER).exists():
        return
    left_out = 0
    for record in former.load():
        try:
            _take(parsed(SampleValueBatch, bytes(record.body)), values, catalog)
        except OutOfOrder:
            left_out += 1
        if values.full:
            values.flush()
    values.flush()
    for path in paths:
        path.unlink()
    shutil.rmtree(folder / _EPOCHS_FOLDER, ignore_errors=True)
    log.warning(
        "%d files of values of a former format were converted; %d messages of unknown registrations were left out",
        len(paths),
        left_out,
    )


def _take(batch: SampleValueBatch, values: ValueLog, catalog: Catalog) -> None:
    if (batch.run_id, batch.sequence) in values.seen:
        return
    entries = Entries(
        catalog.rows_of(batch.registration_id)[unpack(batch.positions, U32)],
        unpack(batch.steps, I64),
        unpack(batch.epochs, U32),
        tuple(unpack(column.values, F32) for column in batch.columns),
    )
    series = Series(batch.branch, int(batch.mode), tuple(column.signal for column in batch.columns))
    values.append(series, entries, run_id=batch.run_id, sequence=batch.sequence)
