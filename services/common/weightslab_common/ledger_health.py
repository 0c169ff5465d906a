"""Asking the ledger that owns an experiment how it is."""

from __future__ import annotations

from weightslab_proto.weightslab.bus.v1 import LedgerHealthRequest, LedgerHealthResponse

from weightslab_common import subjects
from weightslab_common.bus import Bus


async def ledger_health(bus: Bus, experiment: str, *, timeout_secs: float) -> LedgerHealthResponse:
    """Which ledger owns `experiment`, and whether its store answers.

    Raises Unavailable when nobody owns it, DeadlineExceeded, and what the ledger raises.
    """
    return await bus.request(
        subjects.ledger(experiment, "health"),
        LedgerHealthRequest(),
        LedgerHealthResponse,
        timeout_secs=timeout_secs,
        part="ledger",
    )
