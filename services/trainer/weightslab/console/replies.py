"""What messages of the API look like in a reply of the console."""

from __future__ import annotations

from typing import Any

import orjson
from weightslab_proto.weightslab.v1 import (
    Counters,
    CurveInfo,
    Edit,
    Hyperparameter,
    Loader,
    Model,
    Optimizer,
    RunStatus,
)

Reply = dict[str, Any]


def encode(reply: Reply) -> bytes:
    """One line of JSON; numbers that JSON does not know become null."""
    return orjson.dumps(reply, default=str) + b"\n"


def failure(message: str) -> Reply:
    return {"ok": False, "error": message}


def run(status: RunStatus) -> Reply:
    """The state of a run."""
    return {
        "state": _name(status.state),
        "mode": _name(status.mode),
        "branch": status.branch,
        "step": status.step,
        "total_steps": status.total_steps or None,
        "epoch": status.epoch,
        "steps_per_sec": round(status.steps_per_sec, 2),
        "samples_per_sec": round(status.samples_per_sec, 1),
        "finished": status.finished,
        "message": status.message,
    }


def counters(counted: Counters) -> Reply:
    """How many samples there are, active ones and per split and tag."""
    return {
        "total": counted.total,
        "active": counted.active,
        "splits": {split.split: {"total": split.total, "active": split.active} for split in counted.splits},
        "tags": {tag.tag: tag.count for tag in counted.tags},
    }


def hyperparameter(value: Hyperparameter) -> Reply:
    return {"requested": _json(value.requested_json), "applied": _json(value.applied_json), "type": value.type}


def model(described: Model) -> Reply:
    return {
        "name": described.name,
        "parameters": described.parameter_count,
        "trainable": described.trainable_count,
    }


def optimizer(described: Optimizer) -> Reply:
    return {"name": described.name, "type": described.type}


def loader(described: Loader) -> Reply:
    return {
        "name": described.name,
        "split": described.split,
        "batch_size": described.batch_size,
        "samples": described.sample_count,
        "workers": described.worker_count,
    }


def edit(made: Edit) -> Reply:
    """What an edit did; `effective_step` is null while no trainer has said from which step it holds."""
    return {
        "revision": made.revision,
        "changed": made.changed_count,
        "targeted": made.target_count,
        "effective_step": made.effective_step,
        "effective_branch": made.effective_branch or None,
    }


def curve(known: CurveInfo) -> Reply:
    return {
        "signal": known.key.signal,
        "branch": known.key.branch,
        "mode": _name(known.key.mode),
        "points": known.point_count,
        "last_step": known.last_step,
        "last_value": known.last_value,
    }


def _name(member: object) -> str:
    return str(getattr(member, "name", member)).lower()


def _json(text: str) -> object:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text or None
