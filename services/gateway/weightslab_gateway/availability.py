"""Which parts answer, and what to check when one does not."""

from __future__ import annotations

from weightslab_proto.weightslab.v1 import Availability

_SENTENCES = {
    "bus": "The message bus does not answer: check that NATS runs and that WL_NATS_URL is right.",
    "ledger": "The ledger does not answer: check that it runs and is connected to the bus.",
    "store": "The ledger has lost its store: check that Redis runs and that WL_REDIS_URL is right.",
    "trainer": "The trainer does not answer: check that the training process runs and is connected to the bus.",
}


def availability(*, bus: bool, ledger: bool, store: bool, trainer: bool) -> Availability:
    """What viewers are told when these parts answer or not.

    Without a bus nothing can be said of the others; without a ledger nothing of its store.
    """
    if not bus:
        missing = ["bus", "ledger", "trainer"]
        return Availability(missing=missing, message=_SENTENCES["bus"])
    missing = [] if ledger else ["ledger"]
    if ledger and not store:
        missing.append("store")
    if not trainer:
        missing.append("trainer")
    return Availability(missing=missing, message=" ".join(_SENTENCES[part] for part in missing))
