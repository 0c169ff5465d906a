"""Tables as files: CSV, JSON and Parquet, written a part at a time."""

from __future__ import annotations

import contextlib
import csv
import io
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import orjson
from weightslab_common.errors import FailedPrecondition

from weightslab.command.tables import Column, Kind, Row, Table


class Writer(Protocol):
    """Writes a table into an open file, which it does not close."""

    def write(self, rows: Sequence[Row]) -> None: ...

    def finish(self) -> None:
        """Write what a file of this format ends with."""


class CsvWriter:
    """A line of names, then a line per row; lists are JSON in their cell, since a tag may hold any separator."""

    def __init__(self, file: BinaryIO, columns: Sequence[Column]) -> None:
        self._file = file
        self._lists = [column.kind is Kind.TEXTS for column in columns]
        self._write([tuple(column.name for column in columns)])

    def write(self, rows: Sequence[Row]) -> None:
        # Points of curves are many, and have no lists.
        self._write([tuple(map(_csv_cell, row, self._lists)) for row in rows] if any(self._lists) else rows)

    def finish(self) -> None:
        self._file.flush()

    def _write(self, rows: Sequence[Row]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        self._file.write(text.getvalue().encode())


def _csv_cell(cell: Any, is_list: bool) -> Any:
    return orjson.dumps(cell).decode() if is_list else cell


class JsonWriter:
    """An array with an object per line; numbers that are not finite are null."""

    def __init__(self, file: BinaryIO, columns: Sequence[Column]) -> None:
        self._file = file
        self._names = [column.name for column in columns]
        self._before = b"[\n"

    def write(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self._file.write(self._before + orjson.dumps(dict(zip(self._names, row, strict=True))))
            self._before = b",\n"

    def finish(self) -> None:
        self._file.write(b"[]\n" if self._before == b"[\n" else b"\n]\n")
        self._file.flush()


class ParquetWriter:
    """A typed column per column. Raises FailedPrecondition when the extra `parquet` is not installed."""

    def __init__(self, file: BinaryIO, columns: Sequence[Column]) -> None:
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError as error:
            raise FailedPrecondition(
                "Parquet needs pyarrow: install it with `pip install 'weightslab[parquet]'`, or export CSV or JSON"
            ) from error
        kinds = {
            Kind.TEXT: pyarrow.string(),
            Kind.TEXTS: pyarrow.list_(pyarrow.string()),
            Kind.INTEGER: pyarrow.int64(),
            Kind.NUMBER: pyarrow.float64(),
            Kind.FLAG: pyarrow.bool_(),
        }
        self._schema = pyarrow.schema([(column.name, kinds[column.kind]) for column in columns])
        self._writer = parquet.ParquetWriter(file, self._schema)
        self._batch: Callable[..., Any] = pyarrow.record_batch

    def write(self, rows: Sequence[Row]) -> None:
        if rows:
            cells = [list(column) for column in zip(*rows, strict=True)]
            self._writer.write_batch(self._batch(cells, schema=self._schema))

    def finish(self) -> None:
        self._writer.close()


WRITERS: dict[str, Callable[[BinaryIO, Sequence[Column]], Writer]] = {
    "csv": CsvWriter,
    "json": JsonWriter,
    "parquet": ParquetWriter,
}


async def write_table(table: Table, file: BinaryIO, *, form: str) -> int:
    """Write `table` as it comes; return the number of its rows."""
    writer, count = WRITERS[form](file, table.columns), 0
    async for rows in table.batches:
        writer.write(rows)
        count += len(rows)
    writer.finish()
    return count


@contextlib.contextmanager
def replaced(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` when the context ends well: readers see the old file or the whole new one.

    Raises FailedPrecondition when it cannot be written.
    """
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        with fresh.open("wb") as file:
            yield file
        fresh.replace(path)
    except OSError as error:
        raise FailedPrecondition(f"{path} cannot be written: {error.strerror}") from error
    finally:
        fresh.unlink(missing_ok=True)
