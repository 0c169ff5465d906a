"""Answers to the requests of one experiment: checks of what was asked, and messages around the cores."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import betterproto
import numpy as np
from weightslab_common import __version__, names
from weightslab_common.calls import stop_if_unwanted
from weightslab_common.columns import F64, I64, U8, U32, pack, pack_bits
from weightslab_common.errors import FailedPrecondition, InvalidArgument, NotFound
from weightslab_common.messages import made
from weightslab_proto.weightslab.bus import v1 as bus
from weightslab_proto.weightslab.v1 import (
    Column,
    ColumnInfo,
    ColumnKind,
    EditOperation,
    EditSamplesRequest,
    EditSamplesResponse,
    Facet,
    FacetValue,
    Field,
    GetFacetsRequest,
    GetFacetsResponse,
    GetHistogramRequest,
    GetHistogramResponse,
    GetSampleRequest,
    GetSampleResponse,
    ListColumnsRequest,
    ListColumnsResponse,
    ListEditsRequest,
    ListEditsResponse,
    QuerySamplesRequest,
    QuerySamplesResponse,
    SampleRef,
    SplitInfo,
    SummarizeSelectionRequest,
    SummarizeSelectionResponse,
    TagColumn,
    TagCount,
    UndoEditRequest,
    UndoEditResponse,
)

from weightslab_ledger.arrays import count_both
from weightslab_ledger.blobs import Rows
from weightslab_ledger.catalog import OutOfOrder
from weightslab_ledger.checks import find_rows, within
from weightslab_ledger.edits import DISCARDS, Mask
from weightslab_ledger.experiment import Experiment
from weightslab_ledger.facets import class_name, count_values, facet_columns
from weightslab_ledger.frame import Frame
from weightslab_ledger.histogram import DEFAULT_BINS, MAX_BINS, histogram
from weightslab_ledger.metadata import TextValues
from weightslab_ledger.query import evaluate
from weightslab_ledger.replay import branch_order, revision_at
from weightslab_ledger.signal_handlers import SignalHandlers
from weightslab_ledger.views import Wish
from weightslab_ledger.wire import Targeted, edit_request, selection_request

MAX_PAGE = 1000
MAX_TARGETS = 100_000
MAX_EDITS = 1000
_TAG_OPERATIONS = (
    EditOperation.ADD_TAG,
    EditOperation.REMOVE_TAG,
    EditOperation.DELETE_TAG,
    EditOperation.RENAME_TAG,
)
_WHOLE_TAG_OPERATIONS = (EditOperation.DELETE_TAG, EditOperation.RENAME_TAG)

T = TypeVar("T")


def _column(frame: Frame, name: str, rows: Rows) -> Column:
    stop_if_unwanted()
    values = frame.values_at(name, rows)
    if isinstance(values, TextValues):
        return made(Column, name=name, kind=ColumnKind.TEXT, texts=values.texts())
    return made(Column, name=name, kind=ColumnKind.NUMBER, numbers=pack(values, F64))


def _field(frame: Frame, info: ColumnInfo, rows: Rows) -> Field:
    values = frame.values_at(info.name, rows)
    field = Field(name=info.name, group=info.group, kind=info.kind)
    if isinstance(values, TextValues):
        field.text = values.texts()[0]
    else:
        field.number = float(values[0])
    return field


def _facet(frame: Frame, name: str, mask: Mask) -> Facet:
    stop_if_unwanted()
    counted = count_values(frame.column(name), mask)
    is_class = name == "target"
    values = [
        FacetValue(text=value, count=count)
        if isinstance(value, str)
        else FacetValue(number=value, count=count, class_name=class_name(frame.catalog, value) if is_class else "")
        for value, count in counted.values
    ]
    return Facet(
        column=name,
        kind=ColumnKind.TEXT if counted.is_text else ColumnKind.NUMBER,
        values=values,
        distinct_count=counted.distinct_count,
        missing_count=counted.missing_count,
    )


class Handlers:
    """One method per request, named after it."""

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment

    def methods(self) -> dict[str, tuple[Any, Callable[[Any], Any]]]:
        """Name of the method: the type of its request or what reads it, and the handler."""
        return {
            "query_samples": (QuerySamplesRequest, self.query_samples),
            "get_sample": (GetSampleRequest, self.get_sample),
            "list_columns": (ListColumnsRequest, self.list_columns),
            "edit_samples": (edit_request, self.edit_samples),
            "undo_edit": (UndoEditRequest, self.undo_edit),
            "list_edits": (ListEditsRequest, self.list_edits),
            "summarize_selection": (selection_request, self.summarize_selection),
            "get_histogram": (GetHistogramRequest, self.get_histogram),
            "get_facets": (GetFacetsRequest, self.get_facets),
            "discards": (bus.GetDiscardsRequest, self.discards),
            "active_set": (bus.GetActiveSetRequest, self.active_set),
            "health": (bus.LedgerHealthRequest, self.health),
            **SignalHandlers(self._experiment).methods(),
        }

    async def _read(self, work: Callable[[Frame], T]) -> T:
        """Do `work` on the present state, beside the event loop."""
        self._experiment.require_ownership()
        return await asyncio.to_thread(work, self._experiment.frame())

    async def query_samples(self, request: QuerySamplesRequest) -> QuerySamplesResponse:
        if request.offset < 0:
            raise InvalidArgument(f"offset must not be negative, it is {request.offset}")
        limit = within("limit", request.limit, 1, MAX_PAGE)

        def work(frame: Frame) -> QuerySamplesResponse:
            sort = tuple((key.column, key.descending) for key in request.sort)
            view = self._experiment.views.get(frame, Wish(request.filter, sort), request.view)
            rows = view.page(request.offset, limit)
            chosen = list(request.columns) or frame.default_columns()
            total = int(np.count_nonzero(frame.present))
            return QuerySamplesResponse(
                view=view.token,
                revision=frame.revision,
                total=total,
                active=total - count_both(frame.present, frame.discarded),
                matched=view.order.count,
                offset=request.offset,
                rows=pack(rows, U32),
                uids=[frame.catalog.uids[row] for row in rows.tolist()],
                splits=[split.name for split in frame.catalog.splits],
                split_index=pack(frame.catalog.split_index[rows], U8),
                discarded=pack_bits(frame.discarded[rows]),
                tags=[
                    made(TagColumn, tag=tag, members=pack_bits(members))
                    for tag, members in frame.tags_at(rows)
                    if members.any()
                ],
                columns=[_column(frame, frame.resolve(name), rows) for name in chosen],
                value_version=frame.value_version,
                edits_since=frame.revision - view.revision,
            )

        return await self._read(work)

    async def get_sample(self, request: GetSampleRequest) -> GetSampleResponse:
        self._experiment.require_ownership()
        sample, catalog = request.sample, self._experiment.catalog
        split = catalog.split_named(sample.split)
        row = catalog.find(sample.split, sample.uid)
        if row is None:
            raise NotFound(f"there is no sample {sample.uid!r} in split {sample.split!r}")

        def work(frame: Frame) -> GetSampleResponse:
            rows = np.array([row], dtype=np.uint32)
            return GetSampleResponse(
                sample=SampleRef(split=sample.split, uid=sample.uid),
                row=row,
                discarded=bool(frame.discarded[row]),
                tags=[tag for tag, held in frame.tags_at(rows) if held[0]],
                fields=[_field(frame, info, rows) for info in frame.describe() if info.group != "identity"],
                media_kind=split.media_kind,
                slice_count=split.slice_count,
                layers=split.layers,
                last_edit=self._experiment.editor.newest_edit_of(row),
                revision=frame.revision,
            )

        return await self._read(work)

    async def list_columns(self, request: ListColumnsRequest) -> ListColumnsResponse:
        self._experiment.require_ownership()
        counted = {split.split: split.total for split in self._experiment.counters.get().splits}
        frame = self._experiment.frame()
        return ListColumnsResponse(
            columns=[*frame.describe(), *frame.describe_short_names()],
            splits=[
                SplitInfo(
                    split=split.name,
                    sample_count=counted.get(split.name, 0),
                    absent_count=len(split.row_of) - counted.get(split.name, 0),
                    class_names=split.class_names,
                    media_kind=split.media_kind,
                    layers=split.layers,
                )
                for split in self._experiment.catalog.splits
            ],
        )

    async def _target(self, targeted: Targeted[Any]) -> Rows:
        """The rows a target names, increasing. Raises InvalidArgument; NotFound that names what is unknown."""
        samples = targeted.samples
        if samples is None:
            kind, value = betterproto.which_one_of(targeted.message.target, "kind")
            if kind != "query" or value is None:
                raise InvalidArgument("the request has no target: name samples, or a query")
            query: str = value.filter
            return await self._read(lambda frame: np.flatnonzero(evaluate(query, frame)).astype(np.uint32))
        if len(samples) > MAX_TARGETS:
            raise InvalidArgument(
                f"a list names at most {MAX_TARGETS:,} samples, this one {len(samples):,}; use a query"
            )
        return np.unique(np.array(find_rows(self._experiment.catalog, samples), dtype=np.uint32))

    async def edit_samples(self, targeted: Targeted[EditSamplesRequest]) -> EditSamplesResponse:
        self._experiment.require_ownership()
        request = targeted.message
        operation = EditOperation(request.operation)
        if operation in (EditOperation.UNSPECIFIED, EditOperation.UNDO):
            raise InvalidArgument("the edit names no operation; an edit is taken back by UndoEdit")
        tag = names.tag_text(request.tag) if operation in _TAG_OPERATIONS else ""
        if request.tag and not tag:
            raise InvalidArgument(f"operation {operation.name} takes no tag, and {request.tag!r} was given")

        new_tag = names.tag_text(request.new_tag) if operation is EditOperation.RENAME_TAG else ""
        if request.new_tag and not new_tag:
            raise InvalidArgument(f"operation {operation.name} takes no new_tag, and {request.new_tag!r} was given")

        async def target() -> Rows:
            if operation in _WHOLE_TAG_OPERATIONS:
                return np.empty(0, dtype=np.uint32)
            return await self._target(targeted)

        edit = await self._experiment.editor.edit(
            edit_id=request.edit_id,
            author=request.author,
            operation=operation,
            tag=tag,
            expected_revision=request.expected_revision,
            target=target,
            new_tag=new_tag,
        )
        return EditSamplesResponse(edit=edit)

    async def undo_edit(self, request: UndoEditRequest) -> UndoEditResponse:
        self._experiment.require_ownership()
        edit = await self._experiment.editor.undo(
            edit_id=request.edit_id, author=request.author, revision=request.revision
        )
        return UndoEditResponse(edit=edit)

    async def list_edits(self, request: ListEditsRequest) -> ListEditsResponse:
        self._experiment.require_ownership()
        editor = self._experiment.editor
        limit = within("limit", request.limit, 1, MAX_EDITS, default=100)
        edits = editor.list(after_revision=request.after_revision, limit=limit, newest_first=request.newest_first)
        return ListEditsResponse(edits=edits, revision=editor.state.revision)

    async def summarize_selection(self, targeted: Targeted[SummarizeSelectionRequest]) -> SummarizeSelectionResponse:
        self._experiment.require_ownership()
        rows = await self._target(targeted)
        return await self._read(
            lambda frame: SummarizeSelectionResponse(
                count=len(rows),
                discarded_count=int(np.count_nonzero(frame.discarded[rows])),
                tags=[TagCount(tag=tag, count=int(np.count_nonzero(held))) for tag, held in frame.tags_at(rows)],
            )
        )

    async def get_histogram(self, request: GetHistogramRequest) -> GetHistogramResponse:
        bin_count = within("bin_count", request.bin_count, 1, MAX_BINS, default=DEFAULT_BINS)

        def work(frame: Frame) -> GetHistogramResponse:
            counted = histogram(frame.column(request.column), evaluate(request.filter, frame), bin_count)
            return GetHistogramResponse(
                kind=ColumnKind.TEXT if counted.edges is None else ColumnKind.NUMBER,
                edges=b"" if counted.edges is None else pack(counted.edges, F64),
                categories=counted.categories,
                counts=pack(counted.counts, I64),
                missing_count=counted.missing_count,
            )

        return await self._read(work)

    async def get_facets(self, request: GetFacetsRequest) -> GetFacetsResponse:
        def work(frame: Frame) -> GetFacetsResponse:
            mask = evaluate(request.filter, frame)
            return GetFacetsResponse(
                matched=int(np.count_nonzero(mask)),
                discarded_count=count_both(mask, frame.discarded),
                tags=[TagCount(tag=tag, count=count_both(held, mask)) for tag, held in sorted(frame.tags.items())],
                facets=[_facet(frame, name, mask) for name in facet_columns(frame, request.columns)],
                revision=frame.revision,
            )

        return await self._read(work)

    async def active_set(self, request: bus.GetActiveSetRequest) -> bus.GetActiveSetResponse:
        self._experiment.require_ownership()
        editor = self._experiment.editor
        revision = request.revision
        if revision is None:
            summaries = editor.state.summaries
            trained = [key.branch for key in self._experiment.ingest.curves.curves]
            branches = branch_order(trained, summaries)
            revision = revision_at(summaries, branches, branch=request.branch, step=request.step)
        state = await editor.state_at(revision)
        return bus.GetActiveSetResponse(
            revision=revision,
            discarded_rows=pack(np.flatnonzero(state.discarded), U32),
            tags=[TagCount(tag=tag, count=int(np.count_nonzero(mask))) for tag, mask in sorted(state.tags.items())],
        )

    async def discards(self, request: bus.GetDiscardsRequest) -> bus.GetDiscardsResponse:
        self._experiment.require_ownership()
        catalog, state = self._experiment.catalog, self._experiment.editor.state
        try:
            rows = catalog.rows_of(request.registration_id)
        except OutOfOrder:
            raise FailedPrecondition(
                f"split {request.split!r} is not registered as {request.registration_id!r} yet; ask again"
            ) from None
        return bus.GetDiscardsResponse(
            revision=state.revision,
            rows=pack(rows, U32),
            discarded=pack_bits(state.mask(DISCARDS, catalog.row_count)[rows]),
        )

    async def health(self, request: bus.LedgerHealthRequest) -> bus.LedgerHealthResponse:
        damage, counts = self._experiment.ingest.damage, self._experiment.ingest.counts
        return bus.LedgerHealthResponse(
            ledger_id=self._experiment.ledger_id,
            store_connected=self._experiment.lease.sure,
            version=__version__,
            revision=self._experiment.editor.state.revision,
            quarantined_records=damage.records,
            quarantined_bytes=damage.bytes,
            refused_messages=counts.refused,
            dropped_messages=counts.dropped,
        )
