"""Answers the commands of people. Runs on the publisher thread; what changes the run is done at its gate."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

import betterproto
from weightslab_common import subjects
from weightslab_common.bus import Bus, Handler
from weightslab_common.errors import DeadlineExceeded, FailedPrecondition, InvalidArgument, NotFound
from weightslab_proto.weightslab.bus.v1 import ApplyEditRequest, ApplyEditResponse
from weightslab_proto.weightslab.v1 import (
    Checkpoint,
    DescribeModelRequest,
    DescribeModelResponse,
    ListCheckpointsRequest,
    ListCheckpointsResponse,
    LoadCheckpointRequest,
    LoadCheckpointResponse,
    Mode,
    ModelOperation,
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
)

from weightslab import tuning
from weightslab.architecture import describe
from weightslab.audit import Audit
from weightslab.checkpointing import Checkpointing
from weightslab.checkpoints import CheckpointInfo
from weightslab.operations import Operation, Request, operate
from weightslab.records import AUDIT_MODE, TRAIN_MODE
from weightslab.run import Run
from weightslab.status import hyperparameter_message

log = logging.getLogger(__name__)

ResultT = TypeVar("ResultT")
RequestT = TypeVar("RequestT", bound=betterproto.Message)

# A value that is accepted is applied at the gate in any case; the reply waits this long to be able to say so.
_APPLIED_WAIT_SECS = 1.0

_OPERATIONS = {
    ModelOperation.ADD: Operation.ADD,
    ModelOperation.PRUNE: Operation.PRUNE,
    ModelOperation.FREEZE: Operation.FREEZE,
    ModelOperation.RESET: Operation.RESET,
    ModelOperation.THAW: Operation.THAW,
}


class Handlers:
    """One method per verb of `command.<verb>`."""

    def __init__(self, run: Run, *, checkpoints: Checkpointing, timeout_secs: float) -> None:
        self._run = run
        self._audit = Audit(run)
        self._timeout_secs = timeout_secs
        self.checkpoints = checkpoints

    async def serve(
        self,
        bus: Bus,
        experiment: str,
        *,
        apply: Callable[[ApplyEditRequest], Awaitable[ApplyEditResponse]],
        tell: Callable[[], Awaitable[None]],
    ) -> None:
        """Answer on the bus from now on.

        `tell` sends the status; it is sent before the reply, so that whoever has the reply finds the change everywhere.
        """

        async def answer(verb: str, request_type: type[RequestT], handler: Handler[RequestT]) -> None:
            async def changing(request: RequestT) -> betterproto.Message:
                try:
                    return await handler(request)
                finally:
                    await tell()

            await bus.serve(subjects.command(experiment, verb), request_type, changing)

        await answer("pause", PauseRequest, self.pause)
        await answer("resume", ResumeRequest, self.resume)
        await answer("set_mode", SetModeRequest, self.set_mode)
        await answer("set_hyperparameter", SetHyperparameterRequest, self.set_hyperparameter)
        await answer("save_checkpoint", SaveCheckpointRequest, self.save_checkpoint)
        await answer("load_checkpoint", LoadCheckpointRequest, self.load_checkpoint)
        await answer("operate", OperateModelRequest, self.operate)
        await answer("apply", ApplyEditRequest, apply)
        await bus.serve(subjects.command(experiment, "list_checkpoints"), ListCheckpointsRequest, self.list_checkpoints)
        await bus.serve(subjects.command(experiment, "describe_model"), DescribeModelRequest, self.describe_model)

    async def pause(self, request: PauseRequest) -> PauseResponse:
        await self._within(self._run.gate.pause(), "the pause stays asked for, and holds when the loop gets there")
        return PauseResponse(step=self._run.step)

    async def resume(self, request: ResumeRequest) -> ResumeResponse:
        if request.step_count < 0:
            raise InvalidArgument(f"step_count {request.step_count}: 0 runs on, a positive number runs so many steps")
        if self.checkpoints.loaded is not None and not self._run.gate.finished:
            await self._at_gate(self.checkpoints.branch_off)
        # Where it goes on from: it has gone on when the future is done.
        reply = ResumeResponse(step=self._run.step, branch=self._run.branch)
        going = self._run.gate.resume(step_count=request.step_count)
        await self._within(going, "the resume stays asked for")
        return reply

    async def set_mode(self, request: SetModeRequest) -> SetModeResponse:
        modes = {Mode.TRAIN: TRAIN_MODE, Mode.AUDIT: AUDIT_MODE}
        if request.mode not in modes:
            raise InvalidArgument("mode is missing: it is TRAIN or AUDIT")
        certificate = await self._at_gate(lambda: self._audit.set_mode(modes[request.mode]))
        return SetModeResponse(mode=request.mode, audit=certificate)

    def leave_audit(self) -> None:
        """The run is not served any more: its loop, if it goes on, trains."""
        try:
            self._audit.set_mode(TRAIN_MODE)
        except Exception as error:
            # The loop may have made anything of what it audits, and the run stops in any case.
            log.error("the audit could not be ended in order: %s", error)

    async def set_hyperparameter(self, request: SetHyperparameterRequest) -> SetHyperparameterResponse:
        value = self._run.hyperparameters.request(request.name, request.value_json)
        applied = self._run.gate.submit(lambda: tuning.apply(self._run, request.name, value))
        self._run.changed()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(applied)), timeout=_APPLIED_WAIT_SECS)
        state = self._run.hyperparameters.get(request.name)
        return SetHyperparameterResponse(hyperparameter=hyperparameter_message(state))

    async def save_checkpoint(self, request: SaveCheckpointRequest) -> SaveCheckpointResponse:
        writing = await self._at_gate(self.checkpoints.save)
        info = await self._within(writing, "it is still being written")
        return SaveCheckpointResponse(checkpoint=_message(info))

    async def list_checkpoints(self, request: ListCheckpointsRequest) -> ListCheckpointsResponse:
        found = await asyncio.to_thread(self.checkpoints.store.all)
        return ListCheckpointsResponse(checkpoints=[_message(info) for info in found])

    async def load_checkpoint(self, request: LoadCheckpointRequest) -> LoadCheckpointResponse:
        info, state = await asyncio.to_thread(self.checkpoints.read, request.branch, request.step)
        await self._at_gate(lambda: self.checkpoints.load(info, state))
        await self._within(self._run.gate.pause(), "the checkpoint is loaded; the pause stays asked for")
        return LoadCheckpointResponse(checkpoint=_message(info))

    async def describe_model(self, request: DescribeModelRequest) -> DescribeModelResponse:
        name = self._model_name(request.model)
        return DescribeModelResponse(
            model=name, tree=describe(self._run.models[name], self._run.model_states.get(name))
        )

    async def operate(self, request: OperateModelRequest) -> OperateModelResponse:
        name = self._model_name(request.model)
        if request.operation not in _OPERATIONS:
            raise InvalidArgument("operation is missing: it is ADD, PRUNE, FREEZE, RESET or THAW")
        asked = Request(
            _OPERATIONS[request.operation], request.layer_id, count=request.count, neurons=tuple(request.neurons)
        )
        message = await self._at_gate(lambda: self._operate(name, asked))
        count = sum(parameter.numel() for parameter in self._run.models[name].parameters())
        return OperateModelResponse(model=name, parameter_count=count, message=message)

    def _operate(self, name: str, asked: Request) -> str:
        run = self._run
        if run.mode == AUDIT_MODE:
            raise FailedPrecondition("a model cannot be changed in audit mode; go back to train mode first")
        message = operate(run.models[name], run.model_states[name], asked, seed=run.step)
        run.changed()
        return message

    def _model_name(self, asked: str) -> str:
        models = self._run.models
        name = asked or (next(iter(models)) if len(models) == 1 else "")
        if name not in models:
            raise NotFound(f"there is no model {asked!r}; there are: {', '.join(models) or 'none is watched'}")
        return name

    async def _at_gate(self, work: Callable[[], ResultT]) -> ResultT:
        """Do `work` on the training thread; it is withdrawn when the loop does not come to its gate in time."""
        return await self._within(self._run.gate.submit(work), "nothing was changed")

    async def _within(self, future: concurrent.futures.Future[ResultT], consequence: str) -> ResultT:
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), timeout=self._timeout_secs)
        except TimeoutError:
            raise DeadlineExceeded(
                f"the training loop did not come to its next batch within {self._timeout_secs:g} s; {consequence}"
            ) from None


def _message(info: CheckpointInfo) -> Checkpoint:
    return Checkpoint(
        branch=info.branch, step=info.step, created_unix_ms=info.created_unix_ms, size_bytes=info.size_bytes
    )
