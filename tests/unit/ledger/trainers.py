"""What a trainer says on the bus, for tests of the ledger."""

from __future__ import annotations

import asyncio
import itertools
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import betterproto
import numpy as np
from numpy.typing import ArrayLike
from weightslab_common import subjects
from weightslab_common.bus import RUN_STREAM, Bus
from weightslab_common.columns import F32, F64, I64, U32, pack
from weightslab_common.errors import DeadlineExceeded, FailedPrecondition, NotFound, Unavailable
from weightslab_ledger.store import EXPERIMENTS, Store
from weightslab_proto.weightslab.bus.v1 import (
    MetadataColumn,
    SampleValueBatch,
    SampleValueColumn,
    SignalBatch,
    SignalColumn,
    SplitRegistration,
)
from weightslab_proto.weightslab.v1 import EditOperation, EditSamplesRequest, Mode, Query, SampleList, SampleRef, Target

ReplyT = TypeVar("ReplyT", bound=betterproto.Message)
Metadata = dict[str, Sequence[float] | list[str]]


def registration(
    split: str, uids: list[str], *, registration_id: str = "", metadata: Metadata | None = None, **fields: Any
) -> SplitRegistration:
    """A whole registration in one part."""
    columns = [
        MetadataColumn(name=name, texts=list(map(str, values)))
        if len(values) and isinstance(values[0], str)
        else MetadataColumn(name=name, numbers=pack(values, F64))
        for name, values in (metadata or {}).items()
    ]
    given = {"sample_count": len(uids), "first_position": 0, "complete": True, **fields}
    return SplitRegistration(
        registration_id=registration_id or f"{split}-{len(uids)}", split=split, uids=uids, metadata=columns, **given
    )


async def forget_others(bus: Bus, redis_url: str) -> None:
    """Take what earlier tests left off the shared servers: a ledger would own all of their experiments, too."""
    await bus.ensure_streams()
    await bus.js.purge_stream(RUN_STREAM.name or "")
    store = Store(redis_url)
    await store.client.delete(EXPERIMENTS)
    await store.close()


class Trainer:
    """Publishes to JetStream as one run."""

    def __init__(self, bus: Bus, experiment: str) -> None:
        self.bus = bus
        self.experiment = experiment
        self.run_id = uuid.uuid4().hex
        self.sequences = itertools.count(1)

    async def store(self, what: str, message: betterproto.Message) -> None:
        await self.bus.store(subjects.subject(self.experiment, what), bytes(message), message_id=uuid.uuid4().hex)

    async def register(self, split: str, uids: list[str], **fields: Any) -> None:
        part = registration(split, uids, run_id=self.run_id, sequence=next(self.sequences), **fields)
        await self.store(subjects.SAMPLES, part)

    async def points(
        self, signal: str, steps: Sequence[int], values: Sequence[float], *, mode: Mode = Mode.TRAIN
    ) -> SignalBatch:
        batch = SignalBatch(
            run_id=self.run_id,
            sequence=next(self.sequences),
            branch="main",
            mode=mode,
            columns=[SignalColumn(signal=signal, steps=pack(steps, I64), values=pack(values, F64))],
        )
        await self.store(subjects.SIGNALS, batch)
        return batch

    async def values(
        self,
        split: str,
        registration_id: str,
        positions: ArrayLike,
        columns: dict[str, ArrayLike],
        *,
        step: int = 1,
        epoch: int = 0,
        branch: str = "main",
        mode: Mode = Mode.TRAIN,
    ) -> SampleValueBatch:
        batch = SampleValueBatch(
            run_id=self.run_id,
            sequence=next(self.sequences),
            branch=branch,
            mode=mode,
            split=split,
            registration_id=registration_id,
            positions=pack(positions, U32),
            steps=pack(np.full(np.shape(positions), step), I64),
            epochs=pack(np.full(np.shape(positions), epoch), U32),
            columns=[SampleValueColumn(signal=name, values=pack(v, F32)) for name, v in columns.items()],
        )
        await self.store(subjects.VALUES, batch)
        return batch


def samples(split: str, *uids: str) -> Target:
    return Target(samples=SampleList(samples=[SampleRef(split=split, uid=uid) for uid in uids]))


def matching(filter: str) -> Target:
    return Target(query=Query(filter=filter))


def edit_request(
    operation: EditOperation, target: Target | None = None, *, tag: str = "", edit_id: str = "", **fields: Any
) -> EditSamplesRequest:
    return EditSamplesRequest(
        edit_id=edit_id or uuid.uuid4().hex,
        operation=operation,
        tag=tag,
        target=Target() if target is None else target,
        author="test",
        **fields,
    )


class Client:
    """Asks the ledger that owns an experiment."""

    def __init__(self, bus: Bus, experiment: str) -> None:
        self.bus = bus
        self.experiment = experiment

    async def ask(
        self, method: str, request: betterproto.Message, reply: type[ReplyT], *, timeout_secs: float = 30
    ) -> ReplyT:
        subject = subjects.ledger(self.experiment, method)
        return await self.bus.request(subject, request, reply, timeout_secs=timeout_secs, part="ledger")

    async def until(
        self, method: str, request: betterproto.Message, reply: type[ReplyT], holds: Callable[[ReplyT], bool]
    ) -> ReplyT:
        """Ask until the answer is as wanted."""
        end = time.monotonic() + 60
        last: object = None
        while time.monotonic() < end:
            try:
                answer = await self.ask(method, request, reply, timeout_secs=2)
                if holds(answer):
                    return answer
                last = answer
            except (Unavailable, NotFound, FailedPrecondition, DeadlineExceeded) as error:
                last = error
            await asyncio.sleep(0.02)
        raise TimeoutError(f"{method} never answered as wanted; last: {last}")
