"""`weightslab.v1.ExperimentService`."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from typing import cast

from weightslab_common.errors import InvalidArgument
from weightslab_common.names import experiment_slug
from weightslab_proto.weightslab.v1 import (
    DescribeModelRequest,
    DescribeModelResponse,
    ExperimentServiceBase,
    GetExperimentRequest,
    GetExperimentResponse,
    ListCheckpointsRequest,
    ListCheckpointsResponse,
    ListExperimentsRequest,
    ListExperimentsResponse,
    LoadCheckpointRequest,
    LoadCheckpointResponse,
    Mode,
    OperateModelRequest,
    OperateModelResponse,
    PauseRequest,
    PauseResponse,
    ResumeRequest,
    ResumeResponse,
    SaveCheckpointRequest,
    SaveCheckpointResponse,
    SetHyperparameterRequest,
    SetHyperparameterResponse,
    SetModeRequest,
    SetModeResponse,
    WatchRequest,
    WatchResponse,
)

from weightslab_gateway.context import current_call
from weightslab_gateway.directory import Directory
from weightslab_gateway.hubs import Hubs
from weightslab_gateway.peers import Peers
from weightslab_gateway.services import Served
from weightslab_gateway.watch import check_request, watch


class ExperimentService(Served, ExperimentServiceBase):
    """Answers from the directory and the hubs; commands go to the trainer."""

    def __init__(self, *, peers: Peers, directory: Directory, hubs: Hubs, max_watch_secs: float) -> None:
        self._peers = peers
        self._directory = directory
        self._hubs = hubs
        self._max_watch_secs = max_watch_secs

    async def list_experiments(self, request: ListExperimentsRequest) -> ListExperimentsResponse:
        return ListExperimentsResponse(experiments=await self._directory.experiments())

    async def get_experiment(self, request: GetExperimentRequest) -> GetExperimentResponse:
        return GetExperimentResponse(experiment=await self._directory.experiment(request.experiment))

    async def watch(self, request: WatchRequest) -> AsyncIterator[WatchResponse]:
        check_request(request)
        experiment = experiment_slug(request.experiment)
        await self._directory.require(experiment)
        async with self._hubs.viewer(experiment) as hub:
            # Over HTTP/2 a viewer who is gone is noticed by PING.
            max_secs = self._max_watch_secs if current_call().from_web else math.inf
            async for reply in watch(hub, request, max_secs=max_secs):
                # Only its bytes are asked for, and they are those of a WatchResponse.
                yield cast("WatchResponse", reply)

    async def pause(self, request: PauseRequest) -> PauseResponse:
        return await self._peers.command("pause", request, PauseResponse, experiment=request.experiment)

    async def resume(self, request: ResumeRequest) -> ResumeResponse:
        if request.step_count < 0:
            raise InvalidArgument(f"step_count is {request.step_count}; it must not be negative, 0 runs on")
        return await self._peers.command("resume", request, ResumeResponse, experiment=request.experiment)

    async def set_mode(self, request: SetModeRequest) -> SetModeResponse:
        if request.mode not in (Mode.TRAIN, Mode.AUDIT):
            raise InvalidArgument("mode must be MODE_TRAIN or MODE_AUDIT")
        return await self._peers.command("set_mode", request, SetModeResponse, experiment=request.experiment)

    async def set_hyperparameter(self, request: SetHyperparameterRequest) -> SetHyperparameterResponse:
        return await self._peers.command(
            "set_hyperparameter", request, SetHyperparameterResponse, experiment=request.experiment
        )

    async def save_checkpoint(self, request: SaveCheckpointRequest) -> SaveCheckpointResponse:
        return await self._peers.command(
            "save_checkpoint", request, SaveCheckpointResponse, experiment=request.experiment
        )

    async def list_checkpoints(self, request: ListCheckpointsRequest) -> ListCheckpointsResponse:
        return await self._peers.command(
            "list_checkpoints", request, ListCheckpointsResponse, experiment=request.experiment
        )

    async def load_checkpoint(self, request: LoadCheckpointRequest) -> LoadCheckpointResponse:
        return await self._peers.command(
            "load_checkpoint", request, LoadCheckpointResponse, experiment=request.experiment
        )

    async def describe_model(self, request: DescribeModelRequest) -> DescribeModelResponse:
        return await self._peers.command(
            "describe_model", request, DescribeModelResponse, experiment=request.experiment
        )

    async def operate_model(self, request: OperateModelRequest) -> OperateModelResponse:
        return await self._peers.command("operate", request, OperateModelResponse, experiment=request.experiment)
