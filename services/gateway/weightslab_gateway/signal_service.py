"""`weightslab.v1.SignalService`: curves from the ledger; an export is many requests for raw points."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import ClassVar

from weightslab_common.errors import NotFound
from weightslab_proto.weightslab.v1 import (
    Curve,
    CurveKey,
    ExportPointsRequest,
    ExportPointsResponse,
    GetCurvesRequest,
    GetCurvesResponse,
    GetSliceCurvesRequest,
    GetSliceCurvesResponse,
    GetStepSamplesRequest,
    GetStepSamplesResponse,
    GetTrajectoriesRequest,
    GetTrajectoriesResponse,
    ListSignalsRequest,
    ListSignalsResponse,
    SignalServiceBase,
)

from weightslab_gateway.addressed import Addressed
from weightslab_gateway.curve_tail import count_points
from weightslab_gateway.feed import key_of
from weightslab_gateway.peers import Peers
from weightslab_gateway.services import Served

# 320 kB in one message.
EXPORT_CHUNK_POINTS = 20_000


class SignalService(Served, SignalServiceBase):
    """Forwards, and pages exports."""

    # It names up to a hundred samples.
    read_as: ClassVar = {"GetTrajectories": Addressed}

    def __init__(self, *, peers: Peers) -> None:
        self._peers = peers

    async def list_signals(self, request: ListSignalsRequest) -> ListSignalsResponse:
        return await self._peers.forward("list_signals", request, ListSignalsResponse, experiment=request.experiment)

    async def get_curves(self, request: GetCurvesRequest) -> GetCurvesResponse:
        return await self._peers.forward("get_curves", request, GetCurvesResponse, experiment=request.experiment)

    async def get_step_samples(self, request: GetStepSamplesRequest) -> GetStepSamplesResponse:
        return await self._peers.forward(
            "get_step_samples", request, GetStepSamplesResponse, experiment=request.experiment
        )

    async def get_slice_curves(self, request: GetSliceCurvesRequest) -> GetSliceCurvesResponse:
        return await self._peers.forward(
            "get_slice_curves", request, GetSliceCurvesResponse, experiment=request.experiment
        )

    async def get_trajectories(self, request: GetTrajectoriesRequest) -> GetTrajectoriesResponse:
        return await self._peers.forward(
            "get_trajectories", request, GetTrajectoriesResponse, experiment=request.experiment
        )

    async def export_points(self, request: ExportPointsRequest) -> AsyncIterator[ExportPointsResponse]:
        signals = await self._peers.ledger(
            "list_signals",
            ListSignalsRequest(experiment=request.experiment),
            ListSignalsResponse,
            experiment=request.experiment,
        )
        counts = {key_of(info.key): info.point_count for info in signals.curves}
        for key in request.keys:
            if key_of(key) not in counts:
                raise NotFound(f"there is no curve of {key.signal!r} on branch {key.branch!r} in this mode")
        for key in request.keys or [info.key for info in signals.curves]:
            async for chunk in self._export_curve(request.experiment, key, counts[key_of(key)]):
                yield chunk

    async def _export_curve(
        self, experiment: str, key: CurveKey, point_count: int
    ) -> AsyncIterator[ExportPointsResponse]:
        """Chunks of the points that the curve had when the export began."""
        first = 0
        while first < point_count:
            curve = await self._raw_points(experiment, key, first)
            steps, values = curve.steps, curve.values
            count = count_points(steps, values)
            if not count:
                return
            yield ExportPointsResponse(key=key, first_ordinal=first, steps=steps, values=values)
            first += count

    async def _raw_points(self, experiment: str, key: CurveKey, first: int) -> Curve:
        request = GetCurvesRequest(
            experiment=experiment, keys=[key], first_ordinal=first, budget=EXPORT_CHUNK_POINTS, raw=True
        )
        reply = await self._peers.ledger("get_curves", request, GetCurvesResponse, experiment=experiment)
        return reply.curves[0] if reply.curves else Curve(key=key)
