"""Audit mode: the loop runs and is watched, and nothing of the training differs after it. Proven by a hash."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Any

import torch
from weightslab_common.errors import Internal
from weightslab_proto.weightslab.v1 import AuditCertificate

from weightslab import snapshots, tree, tuning
from weightslab.companions import Companions, find_companions
from weightslab.hyperparameters import Value
from weightslab.records import AUDIT_MODE, TRAIN_MODE
from weightslab.run import Run

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Before:
    companions: Companions
    state: dict[str, Any]
    gradients: list[tuple[torch.Tensor, torch.Tensor | None]]
    positions: dict[str, Any]
    hyperparameters: dict[str, Value]


class Audit:
    """Enters and leaves audit mode. Called on the training thread, at the gate."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._before: _Before | None = None

    def set_mode(self, mode: int) -> AuditCertificate | None:
        """Go to `mode` and return the certificate of the present or the last audit; the same mode changes nothing."""
        if mode == AUDIT_MODE and self._before is None:
            self._enter()
            self._tell(mode)
        elif mode == TRAIN_MODE and self._before is not None:
            self._tell(mode)
            self._leave(self._before)
        return self._run.certificate

    def _tell(self, mode: int) -> None:
        if self._run.peers is not None:
            self._run.peers.tell({"mode": mode})

    def _enter(self) -> None:
        run = self._run
        companions = find_companions(run)
        before = _Before(
            companions=companions,
            state=snapshots.copied(run, companions),
            gradients=snapshots.gradients_of(run),
            positions=snapshots.positions_of(run),
            hyperparameters=run.hyperparameters.applied(),
        )
        run.certificate = AuditCertificate(hash_before=tree.digest(before.state), started_unix_ms=_now_unix_ms())
        self._before = before
        run.mode = AUDIT_MODE
        run.changed()

    def _leave(self, before: _Before) -> None:
        run = self._run
        snapshots.restore(run, before.state, before.companions)
        snapshots.restore_gradients(before.gradients)
        snapshots.restore_positions(run, before.positions)
        assert run.certificate is not None
        after = tree.digest(snapshots.state_of(run, before.companions))
        # What people set meanwhile is their change, not the audit's.
        tuning.keep_current(run, saved=before.hyperparameters, companions=before.companions)
        run.certificate = AuditCertificate(
            hash_before=run.certificate.hash_before,
            hash_after=after,
            started_unix_ms=run.certificate.started_unix_ms,
            ended_unix_ms=_now_unix_ms(),
        )
        self._before = None
        run.mode = TRAIN_MODE
        # The batch of the audit is of no step of the training.
        run.yielded_step = -1
        run.changed()
        if after != run.certificate.hash_before:
            log.error("the audit changed the state of the training: %s is not %s", after, run.certificate.hash_before)
            raise Internal("the audit changed the state of the training; load a checkpoint from before it")


def _now_unix_ms() -> int:
    return time.time_ns() // 1_000_000
