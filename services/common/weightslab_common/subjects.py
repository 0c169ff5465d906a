"""Subjects of the bus: `wl.<experiment>.<what>`."""

from __future__ import annotations

# Not a slug, so it never collides with an experiment.
ALL_EXPERIMENTS = "$all"

# Tells whoever answers a call that its caller has left.
LEFT = "wl.$left"

SIGNALS = "signals"
VALUES = "values"
SAMPLES = "samples"
STATUS = "status"
EDITS = "edits"
LIVE = "live"


def subject(experiment: str, what: str) -> str:
    """The subject on which `what` of `experiment` travels; `*` stands for every experiment."""
    return f"wl.{experiment}.{what}"


def ledger(experiment: str, method: str) -> str:
    """The request subject of a method of the ledger that owns `experiment`."""
    return f"wl.{experiment}.ledger.{method}"


def command(experiment: str, verb: str) -> str:
    """The request subject of a command to the trainer of `experiment`."""
    return f"wl.{experiment}.command.{verb}"


def media(experiment: str) -> str:
    """The request subject of the media workers of `experiment`."""
    return f"wl.{experiment}.media"


def verb_of(subject_name: str) -> str:
    """What a subject is for, without the experiment: the same for all of them."""
    return subject_name.split(".", 2)[-1]


def experiment_of(subject_name: str) -> str:
    """The experiment that a subject belongs to."""
    return subject_name.split(".", 2)[1]
