"""The other side of the bus: what a ledger and a gateway say to a trainer, and what they hear of it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import betterproto
import numpy as np
from weightslab_common import subjects
from weightslab_common.bus import Bus
from weightslab_common.columns import F32, F64, I64, U32, pack, pack_bits, unpack
from weightslab_common.errors import NotFound
from weightslab_proto.weightslab.bus.v1 import (
    ApplyEditRequest,
    ApplyEditResponse,
    EditEvent,
    GetDiscardsRequest,
    GetDiscardsResponse,
    LiveUpdate,
    SampleValueBatch,
    SignalBatch,
    SplitRegistration,
)
from weightslab_proto.weightslab.v1 import RunStatus

ReplyT = TypeVar("ReplyT", bound=betterproto.Message)

# Rows are not positions: a trainer that mixed them up would show.
ROW_OFFSET = 1000


class Peer:
    """Reads what a trainer stored, sends it commands, and answers as the owning ledger does."""

    def __init__(self, bus: Bus, experiment: str) -> None:
        self.bus = bus
        self.experiment = experiment
        self.revision = 0
        self.discarded: dict[str, set[int]] = {}
        self.sizes: dict[str, int] = {}
        self.fetches = 0

    async def ask(self, verb: str, request: betterproto.Message, reply_type: type[ReplyT]) -> ReplyT:
        subject = subjects.command(self.experiment, verb)
        return await self.bus.request(subject, request, reply_type, timeout_secs=60, part="trainer")

    async def status(self) -> RunStatus | None:
        stored = await self.bus.last_status(self.experiment)
        return None if stored is None else RunStatus().parse(stored)

    async def attached(self) -> RunStatus:
        """Wait until the trainer is on the bus: it tells its status when it answers commands."""
        return await self.status_when(lambda status: True, what="the trainer is on the bus")

    async def begun(self) -> RunStatus:
        """Wait until some steps are taken."""
        return await self.status_when(lambda status: status.step > 3, what="the run has begun")

    async def status_when(self, holds: Callable[[RunStatus], object], *, what: str) -> RunStatus:
        """The first stored status of which `holds` is true."""

        async def look() -> RunStatus | None:
            status = await self.status()
            return status if status is not None and holds(status) else None

        return await eventually(look, what=what)

    async def stored(self, what: str) -> list[Any]:
        """Every message of the experiment on one subject, in the order of the stream."""
        kinds: dict[str, type[betterproto.Message]] = {
            subjects.SIGNALS: SignalBatch,
            subjects.VALUES: SampleValueBatch,
            subjects.SAMPLES: SplitRegistration,
        }
        consumer = await self.bus.js.pull_subscribe(subjects.subject(self.experiment, what), stream="WL_RUN")
        messages: list[Any] = []
        try:
            pending = (await consumer.consumer_info()).num_pending or 0
            while len(messages) < pending:
                for message in await consumer.fetch(min(100, pending - len(messages)), timeout=5):
                    await message.ack()
                    messages.append(kinds[what]().parse(message.data))
        finally:
            await consumer.unsubscribe()
        return messages

    async def points(self, signal: str) -> list[tuple[str, int, int, float]]:
        """(branch, mode, step, value) of every stored point."""
        return [
            (batch.branch, int(batch.mode), step, value)
            for batch in await self.stored(subjects.SIGNALS)
            for column in batch.columns
            if column.signal == signal
            for step, value in zip(unpack(column.steps, I64).tolist(), unpack(column.values, F64).tolist(), strict=True)
        ]

    async def values(self, signal: str) -> list[tuple[int, int, float]]:
        """(step, position, value) of every stored value of a sample."""
        return [
            entry
            for batch in await self.stored(subjects.VALUES)
            for column in batch.columns
            if column.signal == signal
            for entry in zip(
                unpack(batch.steps, I64).tolist(),
                unpack(batch.positions, U32).tolist(),
                unpack(column.values, F32).tolist(),
                strict=True,
            )
        ]

    async def positions_by_step(self, signal: str, *, through: int = 0) -> dict[int, set[int]]:
        """Which samples had a value at each step, once the values of step `through` are stored."""

        async def look() -> dict[int, set[int]] | None:
            found: dict[int, set[int]] = {}
            for step, position, _ in await self.values(signal):
                found.setdefault(step, set()).add(position)
            return found if through in found else None

        return await eventually(look, what=f"values of step {through} are stored")

    async def answer_as_ledger(self, sizes: dict[str, int]) -> None:
        """Know splits of these sizes and answer `ledger.discards` from now on."""
        self.sizes = sizes
        await self.bus.serve(subjects.ledger(self.experiment, "discards"), GetDiscardsRequest, self._discards)

    async def edit(self, split: str, *, discard: list[int] = (), restore: list[int] = ()) -> ApplyEditResponse:  # type: ignore[assignment]
        """Make an edit as the ledger does: change the truth, publish it, ask the trainer to obey."""
        event = self.change(split, discard=discard, restore=restore)
        await self.bus.publish(subjects.subject(self.experiment, subjects.EDITS), event)
        return await self.ask("apply", ApplyEditRequest(event=event), ApplyEditResponse)

    def change(self, split: str, *, discard: list[int] = (), restore: list[int] = ()) -> EditEvent:  # type: ignore[assignment]
        """Change the truth and tell nobody."""
        self.discarded[split] = self.discarded.setdefault(split, set()) | set(discard)
        self.discarded[split] -= set(restore)
        self.revision += 1
        return EditEvent(
            revision=self.revision,
            discarded_rows=pack([self._row(split, position) for position in discard], U32),
            restored_rows=pack([self._row(split, position) for position in restore], U32),
        )

    async def tell_live(self) -> None:
        await self.bus.publish(
            subjects.subject(self.experiment, subjects.LIVE), LiveUpdate(revision=self.revision, ledger_id="peer")
        )

    def _row(self, split: str, position: int) -> int:
        return ROW_OFFSET + sorted(self.sizes).index(split) * ROW_OFFSET + position

    async def _discards(self, request: GetDiscardsRequest) -> GetDiscardsResponse:
        self.fetches += 1
        if request.split not in self.sizes:
            raise NotFound(f"split {request.split!r} is not registered yet")
        count = self.sizes[request.split]
        mask = np.zeros(count, dtype=bool)
        mask[list(self.discarded.get(request.split, ()))] = True
        rows = [self._row(request.split, position) for position in range(count)]
        return GetDiscardsResponse(revision=self.revision, rows=pack(rows, U32), discarded=pack_bits(mask))


ResultT = TypeVar("ResultT")


async def eventually(
    look: Callable[[], Awaitable[ResultT | None]], *, what: str, timeout_secs: float = 60.0
) -> ResultT:
    """What `look` returns once it is neither None nor false."""
    try:
        async with asyncio.timeout(timeout_secs):
            while not (found := await look()):  # noqa: ASYNC110 - it is looked at through a server
                await asyncio.sleep(0.02)
            return found
    except TimeoutError:
        raise TimeoutError(f"{what}: not within {timeout_secs:g} s") from None


def new_experiment() -> str:
    return f"t-{uuid.uuid4().hex[:12]}"
