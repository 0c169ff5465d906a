"""`weightslab.v1.SampleService`: everything is answered by the ledger that owns the experiment."""

from __future__ import annotations

from typing import ClassVar

from weightslab_proto.weightslab.v1 import (
    EditSamplesRequest,
    EditSamplesResponse,
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
    SampleServiceBase,
    SummarizeSelectionRequest,
    SummarizeSelectionResponse,
    UndoEditRequest,
    UndoEditResponse,
)

from weightslab_gateway.addressed import Addressed, AddressedEdit
from weightslab_gateway.context import current_call
from weightslab_gateway.peers import Peers
from weightslab_gateway.services import Served


class SampleService(Served, SampleServiceBase):
    """Adds to what it forwards only who the author of an edit is, where the caller does not say."""

    # What may name very many samples.
    read_as: ClassVar = {"EditSamples": AddressedEdit, "SummarizeSelection": Addressed}

    def __init__(self, *, peers: Peers) -> None:
        self._peers = peers

    async def query_samples(self, request: QuerySamplesRequest) -> QuerySamplesResponse:
        return await self._peers.forward("query_samples", request, QuerySamplesResponse, experiment=request.experiment)

    async def get_sample(self, request: GetSampleRequest) -> GetSampleResponse:
        return await self._peers.forward("get_sample", request, GetSampleResponse, experiment=request.experiment)

    async def list_columns(self, request: ListColumnsRequest) -> ListColumnsResponse:
        return await self._peers.forward("list_columns", request, ListColumnsResponse, experiment=request.experiment)

    async def edit_samples(self, request: EditSamplesRequest) -> EditSamplesResponse:
        request.author = request.author or current_call().role.value
        return await self._peers.forward("edit_samples", request, EditSamplesResponse, experiment=request.experiment)

    async def undo_edit(self, request: UndoEditRequest) -> UndoEditResponse:
        request.author = request.author or current_call().role.value
        return await self._peers.forward("undo_edit", request, UndoEditResponse, experiment=request.experiment)

    async def list_edits(self, request: ListEditsRequest) -> ListEditsResponse:
        return await self._peers.forward("list_edits", request, ListEditsResponse, experiment=request.experiment)

    async def summarize_selection(self, request: SummarizeSelectionRequest) -> SummarizeSelectionResponse:
        return await self._peers.forward(
            "summarize_selection", request, SummarizeSelectionResponse, experiment=request.experiment
        )

    async def get_histogram(self, request: GetHistogramRequest) -> GetHistogramResponse:
        return await self._peers.forward("get_histogram", request, GetHistogramResponse, experiment=request.experiment)

    async def get_facets(self, request: GetFacetsRequest) -> GetFacetsResponse:
        return await self._peers.forward("get_facets", request, GetFacetsResponse, experiment=request.experiment)
