"""Tables as files of each format."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet
from weightslab.command.formats import WRITERS, replaced, write_table
from weightslab.command.tables import Cells, Column, Kind, Table
from weightslab_common.errors import FailedPrecondition

ODD = ["a,b", 'say "hi"', "日本", "<b>", "tag:z", "two\nlines", "back\rward"]
COLUMNS = (
    Column("uid", Kind.TEXT),
    Column("tags", Kind.TEXTS),
    Column("step", Kind.INTEGER),
    Column("loss", Kind.NUMBER),
    Column("discarded", Kind.FLAG),
)
Row = tuple[Any, ...]
ROWS: list[Row] = [
    (text, [text, "x"], None if not at else 2**53 + at, at / 7, at % 2 == 0) for at, text in enumerate(ODD)
]


async def _batches(*batches: Sequence[Row]) -> AsyncIterator[Cells]:
    for batch in batches:
        yield [list(cells) for cells in zip(*batch, strict=True)] or [[] for _ in COLUMNS]


async def _written(form: str, *batches: Sequence[Row]) -> bytes:
    file = io.BytesIO()
    assert await write_table(Table(COLUMNS, _batches(*batches)), file, form=form) == sum(map(len, batches))
    return file.getvalue()


async def test_csv_keeps_odd_text_lists_and_large_numbers() -> None:
    back = list(csv.reader(io.StringIO((await _written("csv", ROWS[:2], [], ROWS[2:])).decode(), newline="")))
    assert back[0] == ["uid", "tags", "step", "loss", "discarded"]
    assert [row[0] for row in back[1:]] == ODD
    assert [json.loads(row[1]) for row in back[1:]] == [[text, "x"] for text in ODD]
    assert [row[2] for row in back[1:]] == ["", *(str(2**53 + at) for at in range(1, len(ODD)))]
    assert [float(row[3]) for row in back[1:]] == [row[3] for row in ROWS]


TEXTS = st.text(st.characters(exclude_characters="\r", exclude_categories=["Cs"]), max_size=6)
TABLE = st.lists(
    st.tuples(
        TEXTS,
        st.lists(TEXTS, max_size=2),
        st.none() | st.integers(-(2**63), 2**63 - 1),
        st.none() | st.floats(),
        st.booleans(),
    ),
    max_size=6,
)


@given(TABLE, TABLE)
async def test_csv_is_what_pythons_csv_writes(first: list[Row], second: list[Row]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column.name for column in COLUMNS])
    for uid, tags, *cells in first + second:
        writer.writerow([uid, orjson.dumps(tags).decode(), *cells])
    assert await _written("csv", first, second) == text.getvalue().encode()


EDGES = [0.0, -0.0, 1e-4, 9.999999999999999e-5, 9999999999999998.0, 1e16, 5e-324, 0.1 + 0.2, -1 / 3]
NUMBERS = st.sampled_from(EDGES) | st.floats(-1e6, 1e6, width=32) | st.floats(1e-4, 1e16)


@given(st.lists(NUMBERS, min_size=1, max_size=30))
async def test_numbers_in_csv_are_as_python_writes_them(numbers: list[float]) -> None:
    written = await _written("csv", [("a", [], 1, number, True) for number in numbers])
    assert [line.split(",")[3] for line in written.decode().splitlines()[1:]] == list(map(repr, numbers))


@given(TABLE, TABLE)
async def test_json_is_an_object_a_line(first: list[Row], second: list[Row]) -> None:
    lines = [orjson.dumps(dict(zip([column.name for column in COLUMNS], row, strict=True))) for row in first + second]
    expected = b"[\n" + b",\n".join(lines) + b"\n]\n" if lines else b"[]\n"
    assert await _written("json", first, second) == expected


async def test_json_is_valid_whatever_the_numbers_are() -> None:
    rows: list[Row] = [("a", [], 1, value, True) for value in (math.nan, math.inf, 1e-300)]
    back = json.loads(await _written("json", rows[:1], rows[1:]))
    assert [row["loss"] for row in back] == [None, None, 1e-300]
    assert list(back[0]) == [column.name for column in COLUMNS]


async def test_parquet_has_a_type_for_each_column_and_keeps_every_cell(tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    path.write_bytes(await _written("parquet", ROWS[:3], [], ROWS[3:]))
    table = parquet.read_table(path)
    assert [str(field.type) for field in table.schema] == ["string", "list<element: string>", "int64", "double", "bool"]
    assert [tuple(row.values()) for row in table.to_pylist()] == ROWS


@pytest.mark.parametrize("form", WRITERS)
async def test_nothing_is_still_a_file_of_its_format(form: str, tmp_path: Path) -> None:
    content = await _written(form)
    match form:
        case "csv":
            assert content == b"uid,tags,step,loss,discarded\n"
        case "json":
            assert json.loads(content) == []
        case _:
            (tmp_path / "out").write_bytes(content)
            assert parquet.read_table(tmp_path / "out").num_rows == 0


@pytest.mark.parametrize("form", ["csv", "json"])
async def test_rows_are_written_as_they_come(form: str) -> None:
    file = io.BytesIO()
    sizes = []

    async def batches() -> AsyncIterator[Cells]:
        for row in ROWS:
            sizes.append(file.tell())
            yield [[cell] for cell in row]

    await write_table(Table(COLUMNS, batches()), file, form=form)
    assert all(later > earlier for earlier, later in itertools.pairwise(sizes))


async def test_without_pyarrow_parquet_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(FailedPrecondition, match=r"pip install 'weightslab\[parquet\]'"):
        await _written("parquet")


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    with replaced(path) as file:
        file.write(b"one")
    with pytest.raises(KeyError), replaced(path) as file:
        file.write(b"half")
        raise KeyError
    assert path.read_text() == "one"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(FailedPrecondition, match="cannot be written"), replaced(tmp_path / "missing" / "out.csv"):
        pass
