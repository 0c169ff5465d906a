"""What the run says of itself."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from weightslab_common import __version__
from weightslab_proto.weightslab.v1 import (
    AuditCertificate,
    Branch,
    Hyperparameter,
    Loader,
    Mode,
    Model,
    Optimizer,
    RunState,
    RunStatus,
)

from weightslab.gate import GateState
from weightslab.run import Run

if TYPE_CHECKING:
    from weightslab.checkpointing import Checkpointing
    from weightslab.hyperparameters import HyperparameterState

_STATES = {
    GateState.PENDING: RunState.PENDING,
    GateState.RUNNING: RunState.RUNNING,
    GateState.PAUSED: RunState.PAUSED,
}
_RATE_WINDOW_SECS = 1.0


class StatusReport:
    """Makes statuses, and measures rates between them."""

    def __init__(self, run: Run, *, experiment: str) -> None:
        self._run = run
        self._experiment = experiment
        self._measured = (time.monotonic(), run.step, run.sample_count)
        self._steps_per_sec = 0.0
        self._samples_per_sec = 0.0

    def make(
        self,
        *,
        sequence: int,
        applied_revision: int,
        dropped_values: int,
        dropped_predictions: int,
        outbox_messages: int,
        checkpoints: Checkpointing,
    ) -> RunStatus:
        run = self._run
        self._measure()
        loaded = checkpoints.loaded
        return RunStatus(
            experiment=self._experiment,
            run_id=run.run_id,
            sequence=sequence,
            state=_STATES[run.gate.state],
            mode=Mode(run.mode),
            branch=run.branch,
            step=run.step,
            total_steps=run.total_steps,
            epoch=run.epoch,
            steps_per_sec=self._steps_per_sec,
            samples_per_sec=self._samples_per_sec,
            hyperparameters=[hyperparameter_message(state) for state in run.hyperparameters.states()],
            branches=[
                Branch(
                    branch=branch.branch,
                    name=branch.name,
                    parent_branch=branch.parent_branch,
                    parent_step=branch.parent_step,
                    created_unix_ms=branch.created_unix_ms,
                )
                for branch in checkpoints.branches.all()
            ],
            models=[
                Model(
                    name=name,
                    parameter_count=sum(p.numel() for p in model.parameters()),
                    trainable_count=sum(p.numel() for p in model.parameters() if p.requires_grad),
                )
                for name, model in list(run.models.items())
            ],
            optimizers=[Optimizer(name=name, type=type(o).__name__) for name, o in list(run.optimizers.items())],
            loaders=[
                Loader(
                    name=loader.name,
                    split=loader.split.name if loader.split else "",
                    batch_size=loader.batch_size or loader.loader.batch_size or 0,
                    sample_count=len(loader.split) if loader.split else 0,
                    worker_count=loader.loader.num_workers,
                )
                for loader in list(run.loaders)
            ],
            audit=run.certificate or AuditCertificate(),
            message=run.message or run.file_fault,
            applied_revision=applied_revision,
            dropped_values=dropped_values,
            dropped_predictions=dropped_predictions,
            outbox_messages=outbox_messages,
            sent_unix_ms=time.time_ns() // 1_000_000,
            finished=run.gate.finished,
            loaded_branch=loaded.branch if loaded else "",
            loaded_step=loaded.step if loaded else 0,
            last_checkpoint_step=checkpoints.last_step,
            version=__version__,
        )

    def _measure(self) -> None:
        """Rates over a second or more: shorter windows would only show the rhythm of the batches."""
        now, step, samples = time.monotonic(), self._run.step, self._run.sample_count
        then, step_then, samples_then = self._measured
        if now - then < _RATE_WINDOW_SECS:
            return
        self._steps_per_sec = max(0.0, (step - step_then) / (now - then))
        self._samples_per_sec = (samples - samples_then) / (now - then)
        self._measured = now, step, samples


def hyperparameter_message(state: HyperparameterState) -> Hyperparameter:
    return Hyperparameter(
        name=state.name,
        requested_json=json.dumps(state.requested),
        applied_json=json.dumps(state.applied),
        type=state.type,
    )
