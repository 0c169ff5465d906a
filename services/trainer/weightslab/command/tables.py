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

Row = tuple[Any, ...]

_POINTS_PER_REQUEST = 20_000
_SAMPLES_PER_PAGE = 1000
_EDITS_PER_PAGE = 1000


class Kind(StrEnum):
    """What the cells of a column are; any may be None."""

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
    """Columns, and their rows as they come: one cell per column, in the order of the columns."""

    columns: tuple[Column, ...]
    batches: AsyncIterator[list[Row]]


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


async def _points(experiment: Experiment) -> AsyncIterator[list[Row]]:
    """Every raw point of every curve, in the order in which they were stored."""
    known = await experiment.ledger("list_signals", ListSignalsRequest(experiment=experiment.name), ListSignalsResponse)
    for curve in known.curves:
        read = 0
        while read < curve.point_count:
            part = await _part(experiment, curve.key, first_ordinal=read)
            if not part:
                break
            yield part
            read += len(part)


async def _part(experiment: Experiment, key: CurveKey, *, first_ordinal: int) -> list[Row]:
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
    mode = (Mode(key.mode).name or "").lower()
    return [
        (key.signal, key.branch, mode, step, value) for step, value in zip(steps.tolist(), values.tolist(), strict=True)
    ]


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
    return Table((*_SAMPLE, *columns), (_page_rows(page) async for page in pages))


async def _tags(experiment: Experiment, filter: str) -> AsyncIterator[list[Row]]:
    """One row for each sample and tag."""
    async for page in _pages(experiment, filter, columns=[]):
        yield [(split, uid, tag) for split, uid, _, tags, *_ in _page_rows(page) for tag in tags]


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


def _page_rows(page: QuerySamplesResponse) -> list[Row]:
    count = len(page.uids)
    splits = [page.splits[split] for split in unpack(page.split_index, U8, count=count, name="split_index")]
    discarded = unpack_bits(page.discarded, count=count, name="discarded").tolist()
    tags: list[list[str]] = [[] for _ in range(count)]
    for tag in page.tags:
        for held, member in zip(tags, unpack_bits(tag.members, count=count, name="tag"), strict=True):
            if member:
                held.append(tag.tag)
    values: list[list[Any]] = [
        column.texts
        if column.kind == ColumnKind.TEXT
        else unpack(column.numbers, F64, count=count, name=column.name).tolist()
        for column in page.columns
    ]
    return list(zip(splits, page.uids, map(bool, discarded), tags, *values, strict=True))


async def _edits(experiment: Experiment) -> AsyncIterator[list[Row]]:
    """The edit log in its order."""
    revision = 0
    while True:
        request = ListEditsRequest(experiment=experiment.name, after_revision=revision, limit=_EDITS_PER_PAGE)
        page = await experiment.ledger("list_edits", request, ListEditsResponse)
        yield [_edit_row(edit) for edit in page.edits]
        if len(page.edits) < _EDITS_PER_PAGE:
            return
        revision = page.edits[-1].revision


def _edit_row(edit: Edit) -> Row:
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
