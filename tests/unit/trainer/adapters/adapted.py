"""What every adapter must do: asked from the bus, while a framework's own loop trains on another thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import weightslab as wl
from weightslab_common import subjects
from weightslab_common.columns import U32, unpack
from weightslab_proto.weightslab.v1 import (
    Mode,
    PauseRequest,
    PauseResponse,
    ResumeRequest,
    ResumeResponse,
    SetModeRequest,
    SetModeResponse,
)

from tests.unit.trainer.peers import Peer
from tests.unit.trainer.runs import Background

TRAIN_COUNT = 24
VAL_COUNT = 8
BATCH_SIZE = 4
STEPS_PER_EPOCH = TRAIN_COUNT // BATCH_SIZE
SIZES = {"train": TRAIN_COUNT, "val": VAL_COUNT}
DISCARDED = [1, 5]


def weights_of(model: torch.nn.Module) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


def same(first: list[torch.Tensor], second: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


async def obeys_people(peer: Peer, model: torch.nn.Module, *, fit: Callable[[], Any], end: Callable[[], Any]) -> None:
    """Pause is a barrier, a discard holds from the step that was named, an audit changes nothing.

    `fit` trains for ever, `end` lets it return at its next step.
    """
    await peer.answer_as_ledger(SIZES)
    loop = Background(fit)
    try:
        await peer.begun()
        effective_step = await _discard_while_paused(peer, model)
        await _audit(peer, model)
        await peer.ask("resume", ResumeRequest(), ResumeResponse)
        last = effective_step + 2 * STEPS_PER_EPOCH
        by_step = await peer.positions_by_step("train/loss", through=last)
    finally:
        end()
        wl.stop()
        loop.join()
    drawn = set().union(*(by_step[step] for step in range(effective_step, last + 1)))
    assert drawn == set(range(TRAIN_COUNT)) - set(DISCARDED)


async def _discard_while_paused(peer: Peer, model: torch.nn.Module) -> int:
    await peer.ask("pause", PauseRequest(), PauseResponse)
    before = weights_of(model)
    edited = await peer.edit("train", discard=DISCARDED)
    assert same(before, weights_of(model))
    return edited.effective_step


async def _audit(peer: Peer, model: torch.nn.Module) -> None:
    before = weights_of(model)
    await peer.ask("set_mode", SetModeRequest(mode=Mode.AUDIT), SetModeResponse)
    seen = (await peer.status_when(lambda s: s.mode == Mode.AUDIT, what="the audit is told")).epoch
    await peer.ask("resume", ResumeRequest(), ResumeResponse)
    await peer.status_when(lambda s: s.mode == Mode.AUDIT and s.epoch > seen + 1, what="epochs pass in audit mode")
    await peer.ask("pause", PauseRequest(), PauseResponse)
    left = await peer.ask("set_mode", SetModeRequest(mode=Mode.TRAIN), SetModeResponse)
    assert left.audit is not None
    assert left.audit.hash_after == left.audit.hash_before
    assert same(before, weights_of(model))


async def values_by_epoch(peer: Peer, signal: str) -> dict[int, set[int]]:
    """Which samples had a value in each epoch."""
    found: dict[int, set[int]] = {}
    for batch in await peer.stored(subjects.VALUES):
        if any(column.signal == signal for column in batch.columns):
            for epoch, position in zip(
                unpack(batch.epochs, U32).tolist(), unpack(batch.positions, U32).tolist(), strict=True
            ):
                found.setdefault(epoch, set()).add(position)
    return found
