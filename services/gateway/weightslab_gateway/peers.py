"""Requests to the ledger and the trainer of an experiment, with the caller's deadline and clear errors."""

from __future__ import annotations

from typing import TypeVar, cast

import betterproto
from weightslab_common import subjects
from weightslab_common.bus import Bus
from weightslab_common.errors import Unavailable
from weightslab_common.messages import parsed
from weightslab_common.names import experiment_slug

from weightslab_gateway.attended import PeerGone, attended, ledger_gone, trainer_gone
from weightslab_gateway.context import time_left_secs
from weightslab_gateway.directory import Directory
from weightslab_gateway.encoded import Encoded

ReplyT = TypeVar("ReplyT", bound=betterproto.Message)

LEDGER_TIMEOUT_SECS = 30.0
# A pause waits for the running step, a checkpoint for the disk.
COMMAND_TIMEOUT_SECS = 120.0
# What the ledger is asked that is not asked a second time: whether the first was done is not known.
CHANGES = frozenset({"edit_samples", "undo_edit"})


class Peers:
    """Forwards requests over the bus."""

    def __init__(self, bus: Bus, directory: Directory) -> None:
        self._bus = bus
        self._directory = directory

    async def ledger(
        self, method: str, request: betterproto.Message, reply_type: type[ReplyT], *, experiment: str
    ) -> ReplyT:
        """Ask the ledger of `experiment`; what changes nothing is asked again, once, when its ledger ends meanwhile.

        Raises NotFound for an unknown experiment, PeerGone, and what the ledger raises.
        """
        return parsed(reply_type, await self._ledger(method, request, experiment=experiment))

    async def forward(
        self, method: str, request: betterproto.Message, reply_type: type[ReplyT], *, experiment: str
    ) -> ReplyT:
        """As `ledger`, for who only sends the reply on: it stays the bytes it came as, and has no fields.

        To read and write a page of samples takes longer than to ask for it.
        """
        return cast("ReplyT", Encoded(await self._ledger(method, request, experiment=experiment)))

    async def _ledger(self, method: str, request: betterproto.Message, *, experiment: str) -> bytes:
        subject = subjects.ledger(experiment_slug(experiment), method)

        async def ask() -> bytes:
            asking = self._ask(subject, request, experiment=experiment, part="ledger", timeout_secs=LEDGER_TIMEOUT_SECS)
            return await attended(asking, ledger_gone(self._bus, experiment), part="ledger")

        try:
            return await ask()
        except PeerGone:
            if method in CHANGES:
                raise
        return await ask()

    async def command(
        self, verb: str, request: betterproto.Message, reply_type: type[ReplyT], *, experiment: str
    ) -> ReplyT:
        """Tell the trainer of `experiment`.

        Raises NotFound for an unknown experiment, PeerGone, and what the trainer raises.
        """
        subject = subjects.command(experiment_slug(experiment), verb)
        asking = self._ask(subject, request, experiment=experiment, part="trainer", timeout_secs=COMMAND_TIMEOUT_SECS)
        reply = await attended(asking, trainer_gone(self._directory, experiment), part="trainer")
        return parsed(reply_type, reply)

    async def _ask(
        self, subject: str, request: betterproto.Message, *, experiment: str, part: str, timeout_secs: float
    ) -> bytes:
        try:
            return await self._bus.request_bytes(subject, request, timeout_secs=time_left_secs(timeout_secs), part=part)
        except Unavailable:
            # Nobody listens: either the part is down, or there is no such experiment.
            await self._directory.require(experiment)
            raise
