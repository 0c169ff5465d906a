"""Experiments out of use: what is still known of one that left memory, and what brings it back."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import nats.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from weightslab_common import subjects
from weightslab_common.bus import Bus
from weightslab_proto.weightslab.bus.v1 import LiveUpdate
from weightslab_proto.weightslab.v1 import Counters

log = logging.getLogger(__name__)

# Requests that wait while an experiment is loaded; the oldest are given up beyond it, and their askers time out.
MAX_WAITING = 1024


class Activity:
    """When an experiment was last used."""

    def __init__(self) -> None:
        self._at = time.monotonic()

    def touch(self) -> None:
        self._at = time.monotonic()

    def noting(self, handler: Callable[[Any], Awaitable[Any]]) -> Callable[[Any], Awaitable[Any]]:
        """`handler`, each call of which is a use."""

        async def noted(request: Any) -> Any:
            self.touch()
            return await handler(request)

        return noted

    async def idle(self, secs: float) -> None:
        """Return when nothing was done for so long."""
        while True:
            left = self._at + secs - time.monotonic()
            if left <= 0:
                return
            await asyncio.sleep(left)


@dataclass(frozen=True, slots=True)
class Dormant:
    """What is told of an experiment that is not in memory; nothing of it can change meanwhile."""

    revision: int
    value_version: int
    counters: Counters

    def beat(self, ledger_id: str) -> LiveUpdate:
        """The update that is told once a second."""
        return LiveUpdate(
            revision=self.revision, value_version=self.value_version, counters=self.counters, ledger_id=ledger_id
        )


class Doorbell:
    """Takes the requests to an experiment that is not in memory, and hands them on once it is."""

    def __init__(self, bus: Bus, experiment: str) -> None:
        self.dormant = Dormant(0, 0, Counters())
        self._bus = bus
        self._experiment = experiment
        self._waiting: deque[Msg] = deque(maxlen=MAX_WAITING)
        self._rung = asyncio.Event()
        self._subscription: Subscription | None = None

    def ring(self) -> None:
        """Something wants the experiment back."""
        self._rung.set()

    async def rung(self) -> None:
        await self._rung.wait()

    async def open(self, dormant: Dormant) -> None:
        """Take every request from now on."""
        self.dormant = dormant
        self._rung.clear()
        self._subscription = await self._bus.client.subscribe(subjects.ledger(self._experiment, "*"), cb=self._received)

    async def close(self) -> None:
        """Take no more requests; others do."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            with contextlib.suppress(nats.errors.Error, OSError):
                await subscription.unsubscribe()

    async def _received(self, message: Msg) -> None:
        self._waiting.append(message)
        self.ring()

    async def hand_on(self) -> None:
        """Send what waited again, to be answered to whoever asked first.

        A request that came while others listened already is answered twice: edits are known by their ids, and whoever
        asks takes the first answer.
        """
        await self.close()
        while self._waiting:
            message = self._waiting.popleft()
            try:
                await self._bus.client.publish(
                    message.subject, message.data, reply=message.reply, headers=message.headers
                )
            except (nats.errors.Error, OSError) as error:
                log.warning("a request to %r could not be handed on: %s", self._experiment, error)
