"""What is known of an experiment as tables, read from the ledger a part at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from weightslab_common.columns import F64, I64, U8, unpack, unpack_bits
from weightslab_proto.weightslab.v1 import (
    ColumnKind,
    CurveKey,
    Edit,
    EditOperation,
    GetCurvesRequest,
    GetCurvesResponse,
    ListColumnsRequest,
    ListColumnsResponse,
    ListEditsRequest,
    ListEditsResponse,
    ListSignalsRequest,
    ListSignalsResponse,
    Mode,
    QuerySamplesRequest,
    QuerySamplesResponse,
)

from weightslab.console.experiment import Experiment

# The cells of some rows: a list per column, all of one length.
Cells = list[list[Any]]

_POINTS_PER_REQUEST = 20_000
_SAMPLES_PER_PAGE = 1000
_EDITS_PER_PAGE = 1000


class Kind(StrEnum):
    """What the cells of a column are; those of numbers may be None."""

    TEXT = "text"
    TEXTS = "texts"
    INTEGER = "integer"
    NUMBER = "number"
    FLAG = "flag"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    name: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Table:
    """Columns, and their cells as they come, some rows at a time."""

    columns: tuple[Column, ...]
    batches: AsyncIterator[Cells]


_CURVES = (
    Column("signal", Kind.TEXT),
    Column("branch", Kind.TEXT),
    Column("mode", Kind.TEXT),
    Column("step", Kind.INTEGER),
    Column("value", Kind.NUMBER),
)
_SAMPLE = (
    Column("split", Kind.TEXT),
    Column("uid", Kind.TEXT),
    Column("discarded", Kind.FLAG),
    Column("tags", Kind.TEXTS),
)
_TAGS = (Column("split", Kind.TEXT), Column("uid", Kind.TEXT), Column("tag", Kind.TEXT))
_EDITS = (
    Column("revision", Kind.INTEGER),
    Column("edit_id", Kind.TEXT),
    Column("author", Kind.TEXT),
    Column("operation", Kind.TEXT),
    Column("tag", Kind.TEXT),
    Column("new_tag", Kind.TEXT),
    Column("changed", Kind.INTEGER),
    Column("targeted", Kind.INTEGER),
    Column("created_unix_ms", Kind.INTEGER),
    Column("effective_step", Kind.INTEGER),
    Column("effective_branch", Kind.TEXT),
    Column("undone_revision", Kind.INTEGER),
)


async def table(experiment: Experiment, what: str, *, filter: str) -> Table:
    """The table of `curves`, `samples`, `tags` or `edits`; `filter` is a query for samples and tags."""
    match what:
        case "curves":
            return Table(_CURVES, _points(experiment))
        case "edits":
            return Table(_EDITS, _edits(experiment))
        case "tags":
            return Table(_TAGS, _tags(experiment, filter))
        case _:
            return await _samples(experiment, filter)


async def _points(experiment: Experiment) -> AsyncIterator[Cells]:
    """Every raw point of every curve, in the order in which they were stored."""
    known = await experiment.ledger("list_signals", ListSignalsRequest(experiment=experiment.name), ListSignalsResponse)
    for curve in known.curves:
        read = 0
        while read < curve.point_count:
            part = await _part(experiment, curve.key, first_ordinal=read)
            count = len(part[0])
            if not count:
                break
            yield part
            read += count


async def _part(experiment: Experiment, key: CurveKey, *, first_ordinal: int) -> Cells:
    request = GetCurvesRequest(
        experiment=experiment.name,
        keys=[key],
        first_ordinal=first_ordinal,
        budget=_POINTS_PER_REQUEST,
        raw=True,
    )
    [curve] = (await experiment.ledger("get_curves", request, GetCurvesResponse)).curves
    steps = unpack(curve.steps, I64, name="steps")
    values = unpack(curve.values, F64, count=len(steps), name="values")
    same = (key.signal, key.branch, (Mode(key.mode).name or "").lower())
    return [*([text] * len(steps) for text in same), steps.tolist(), values.tolist()]


async def _samples(experiment: Experiment, filter: str) -> Table:
    """The samples that a query matches, with their tags, whether they are discarded, and all columns there are now."""
    listed = await experiment.ledger(
        "list_columns", ListColumnsRequest(experiment=experiment.name), ListColumnsResponse
    )
    own = {column.name for column in _SAMPLE}
    more = [info for info in listed.columns if info.group != "identity"]
    columns = [
        # A dataset may give a column any name; no two columns of a table have the same.
        Column(
            f"{info.group}/{info.name}" if info.name in own else info.name,
            Kind.TEXT if info.kind == ColumnKind.TEXT else Kind.NUMBER,
        )
        for info in more
    ]
    pages = _pages(experiment, filter, columns=[info.name for info in more])
    return Table((*_SAMPLE, *columns), (_page_cells(page) async for page in pages))


async def _tags(experiment: Experiment, filter: str) -> AsyncIterator[Cells]:
    """One row for each sample and tag."""
    async for page in _pages(experiment, filter, columns=[]):
        splits, uids, _, tags = _page_cells(page)
        counts = list(map(len, tags))
        yield [_repeated(splits, counts), _repeated(uids, counts), [tag for held in tags for tag in held]]


def _repeated(cells: list[str], counts: list[int]) -> list[str]:
    return [cell for cell, count in zip(cells, counts, strict=True) for _ in range(count)]


async def _pages(experiment: Experiment, filter: str, *, columns: list[str]) -> AsyncIterator[QuerySamplesResponse]:
    view, read = "", 0
    while True:
        page = await experiment.ledger(
            "query_samples",
            QuerySamplesRequest(
                experiment=experiment.name,
                filter=filter,
                offset=read,
                limit=_SAMPLES_PER_PAGE,
                columns=columns or ["uid"],
                view=view,
            ),
            QuerySamplesResponse,
        )
        if not columns:
            page.columns = []
        yield page
        # One view for all pages: none is doubled or left out while values change.
        view = page.view
        read += len(page.uids)
        if not page.uids or read >= page.matched:
            return


def _page_cells(page: QuerySamplesResponse) -> Cells:
    count = len(page.uids)
    splits = [page.splits[split] for split in unpack(page.split_index, U8, count=count, name="split_index")]
    discarded = unpack_bits(page.discarded, count=count, name="discarded").tolist()
    tags: list[list[str]] = [[] for _ in range(count)]
    for tag in page.tags:
        for held, member in zip(tags, unpack_bits(tag.members, count=count, name="tag"), strict=True):
            if member:
                held.append(tag.tag)
    values: Cells = [
        column.texts
        if column.kind == ColumnKind.TEXT
        else unpack(column.numbers, F64, count=count, name=column.name).tolist()
        for column in page.columns
    ]
    return [splits, page.uids, discarded, tags, *values]


async def _edits(experiment: Experiment) -> AsyncIterator[Cells]:
    """The edit log in its order."""
    revision = 0
    while True:
        request = ListEditsRequest(experiment=experiment.name, after_revision=revision, limit=_EDITS_PER_PAGE)
        page = await experiment.ledger("list_edits", request, ListEditsResponse)
        if page.edits:
            yield [list(cells) for cells in zip(*map(_edit_row, page.edits), strict=True)]
        if len(page.edits) < _EDITS_PER_PAGE:
            return
        revision = page.edits[-1].revision


def _edit_row(edit: Edit) -> tuple[Any, ...]:
    return (
        edit.revision,
        edit.edit_id,
        edit.author,
        (EditOperation(edit.operation).name or "").lower(),
        edit.tag,
        edit.new_tag,
        edit.changed_count,
        edit.target_count,
        edit.created_unix_ms,
        edit.effective_step,
        edit.effective_branch,
        edit.undone_revision or None,
    )
