"""Tables as files: CSV, JSON and Parquet, written a part at a time."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import orjson
from weightslab_common.errors import FailedPrecondition

from weightslab.command.tables import Cells, Column, Kind, Table


class Writer(Protocol):
    """Writes a table into an open file, which it does not close."""

    def write(self, cells: Cells) -> None:
        """Write some rows, at least one."""

    def finish(self) -> None:
        """Write what a file of this format ends with."""


class CsvWriter:
    """A line of names, then a line per row; lists are JSON in their cell, since a tag may hold any separator.

    A whole column is made text at once: the points of curves are many.
    """

    def __init__(self, file: BinaryIO, columns: Sequence[Column]) -> None:
        self._file = file
        self._kinds = [column.kind for column in columns]
        self._write([_quoted([column.name]) for column in columns])

    def write(self, cells: Cells) -> None:
        self._write([_csv_texts(column, kind) for column, kind in zip(cells, self._kinds, strict=True)])

    def finish(self) -> None:
        self._file.flush()

    def _write(self, texts: list[list[str]]) -> None:
        lines = "\n".join(map(",".join, zip(*texts, strict=True)))
        self._file.write(f"{lines}\n".encode())


def _csv_texts(cells: list[Any], kind: Kind) -> list[str]:
    if kind is Kind.TEXT:
        return _quoted(cells)
    if kind is Kind.TEXTS:
        return _quoted([orjson.dumps(cell).decode() for cell in cells])
    if None in cells:
        return ["" if cell is None else repr(cell) for cell in cells]
    return _float_texts(cells) if kind is Kind.NUMBER else list(map(repr, cells))


def _float_texts(numbers: list[float]) -> list[str]:
    """Each as Python writes it: with as many digits as say exactly which one it is.

    What needs no exponent orjson writes alike, and several times faster.
    """
    texts = orjson.dumps(numbers)[1:-1].decode().split(",")
    sizes = np.abs(np.array(numbers))
    plain = (sizes >= 1e-4) & (sizes < 1e16)
    for at in np.flatnonzero(~plain).tolist():
        texts[at] = repr(numbers[at])
    return texts


# What would end a cell or a line.
_NEEDS_QUOTES = re.compile(r'[",\r\n]')


def _quoted(texts: list[str]) -> list[str]:
    # Of a curve all are the same.
    if not _NEEDS_QUOTES.search("".join(set(texts))):
        return texts
    return ['"' + text.replace('"', '""') + '"' if _NEEDS_QUOTES.search(text) else text for text in texts]


class JsonWriter:
    """An array with an object per line; numbers that are not finite are null."""

    def __init__(self, file: BinaryIO, columns: Sequence[Column]) -> None:
        self._file = file
        self._names = [orjson.dumps(column.name) + b":" for column in columns]
        self._kinds = [column.kind for column in columns]
        self._before = b"[\n{"

    def write(self, cells: Cells) -> None:
        columns = zip(self._names, cells, self._kinds, strict=True)
        texts = [_json_texts(name, column, kind) for name, column, kind in columns]
        self._file.write(self._before + b"},\n{".join(map(b",".join, zip(*texts, strict=True))))
        self._before = b"},\n{"

    def finish(self) -> None:
        self._file.write(b"[]\n" if self._before == b"[\n{" else b"}\n]\n")
        self._file.flush()


def _json_texts(name: bytes, cells: list[Any], kind: Kind) -> list[bytes]:
    """`name` with each cell."""
    if kind is Kind.TEXT:
        known = {cell: name + orjson.dumps(cell) for cell in set(cells)}
        return [known[cell] for cell in cells]
    if kind is Kind.TEXTS:
        return [name + orjson.dumps(cell) for cell in cells]
    # A comma stands between numbers only, so that all of them are made text at once.
    return (name + orjson.dumps(cells)[1:-1].replace(b",", b"\n" + name)).split(b"\n")


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

    def write(self, cells: Cells) -> None:
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
    async for cells in table.batches:
        if rows := len(cells[0]):
            writer.write(cells)
            count += rows
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
