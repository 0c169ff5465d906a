"""Files that say which samples get which tags: CSV, JSON or Parquet, as `weightslab export tags` writes them."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
from weightslab_common.errors import FailedPrecondition, InvalidArgument
from weightslab_common.names import tag_text
from weightslab_proto.weightslab.v1 import SampleRef

_COLUMNS = frozenset({"split", "uid", "tag"})
# Where a row stands, for people, and its cells by name.
_Row = tuple[str, Mapping[str, Any]]


def read_tags(file: Path, *, form: str) -> dict[str, list[SampleRef]]:
    """The samples of each tag in a file of the format `csv`, `json` or `parquet`.

    Raises InvalidArgument that names the line or row, and FailedPrecondition when Parquet cannot be read here.
    """
    tags: dict[str, list[SampleRef]] = {}
    for place, row in _READERS[form](file):
        split, uid, tag = (_text(row.get(name)) for name in ("split", "uid", "tag"))
        if not split or not uid or tag is None:
            raise InvalidArgument(f"{file}, {place}: split, uid and tag must all be there, as text")
        try:
            tags.setdefault(tag_text(tag), []).append(SampleRef(split=split, uid=uid))
        except InvalidArgument as error:
            raise InvalidArgument(f"{file}, {place}: {error.message}") from None
    return tags


def _text(cell: object) -> str | None:
    """A cell as text; the index of a sample may be a number in JSON and Parquet."""
    if isinstance(cell, int) and not isinstance(cell, bool):
        return str(cell)
    return cell if isinstance(cell, str) else None


def _csv(file: Path) -> Iterator[_Row]:
    try:
        # A spreadsheet may begin it with a byte order mark.
        with file.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines)
            _check_columns(file, reader.fieldnames or [])
            for row in reader:
                yield f"line {reader.line_num}", row
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidArgument(f"{file} is no CSV in UTF-8: {error}") from error


def _json(file: Path) -> Iterator[_Row]:
    try:
        rows = orjson.loads(file.read_bytes())
    except orjson.JSONDecodeError as error:
        raise InvalidArgument(f"{file} is no JSON: {error}") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InvalidArgument(f"{file} is no list of objects with split, uid and tag")
    for number, row in enumerate(rows, 1):
        yield f"object {number}", row


def _parquet(file: Path) -> Iterator[_Row]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise FailedPrecondition(
            "Parquet needs pyarrow: install it with `pip install 'weightslab[parquet]'`, or import CSV or JSON"
        ) from error
    try:
        with parquet.ParquetFile(file) as source:
            _check_columns(file, source.schema_arrow.names)
            number = 0
            for batch in source.iter_batches(columns=sorted(_COLUMNS)):
                for row in batch.to_pylist():
                    number += 1
                    yield f"row {number}", row
    except pyarrow.ArrowException as error:
        raise InvalidArgument(f"{file} is no Parquet: {error}") from error


def _check_columns(file: Path, names: Any) -> None:
    missing = _COLUMNS - set(names)
    if missing:
        raise InvalidArgument(f"{file} has no column {', '.join(sorted(missing))}: it needs split, uid and tag")


_READERS: dict[str, Callable[[Path], Iterator[_Row]]] = {"csv": _csv, "json": _json, "parquet": _parquet}
