"""Every experiment there is: what trainers say of themselves, and what ledgers hold."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import nats.errors
from nats.aio.msg import Msg
from weightslab_common import subjects
from weightslab_common.bus import NOT_CONNECTED, STATUS_STREAM, Bus
from weightslab_common.errors import InvalidArgument, NotFound, Unavailable
from weightslab_common.messages import encoded, parsed
from weightslab_common.names import experiment_slug
from weightslab_proto.weightslab.bus.v1 import (
    LedgerExperiment,
    ListLedgerExperimentsRequest,
    ListLedgerExperimentsResponse,
)
from weightslab_proto.weightslab.v1 import Experiment, RunStatus

log = logging.getLogger(__name__)

CONNECTED_SECS = 5.0
MAX_EXPERIMENTS = 10_000
# Ledgers answer a broadcast each on its own; how many there are is not known.
FIRST_ANSWER_SECS = 1.0
QUIET_SECS = 0.1

StatusListener = Callable[[RunStatus], None]


@dataclass(slots=True)
class _Heard:
    status: RunStatus
    at: float


class Directory:
    """Keeps the last status of each trainer; asks ledgers when asked."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._heard: dict[str, _Heard] = {}
        self._listeners: dict[str, set[StatusListener]] = {}

    async def start(self) -> None:
        """Listen to every trainer from now on."""
        await self._bus.client.subscribe(subjects.subject("*", subjects.STATUS), cb=self._on_status)

    def status(self, experiment: str) -> RunStatus | None:
        """The last status of the trainer of `experiment` that was heard."""
        heard = self._heard.get(experiment)
        return heard.status if heard else None

    def trainer_connected(self, experiment: str) -> bool:
        """Whether the trainer has spoken within the last seconds."""
        heard = self._heard.get(experiment)
        return heard is not None and time.monotonic() - heard.at < CONNECTED_SECS

    def listen(self, experiment: str, listener: StatusListener) -> None:
        """Call `listener` with each new status of `experiment`."""
        self._listeners.setdefault(experiment, set()).add(listener)

    def unlisten(self, experiment: str, listener: StatusListener) -> None:
        self._listeners.get(experiment, set()).discard(listener)
        if not self._listeners.get(experiment):
            self._listeners.pop(experiment, None)

    async def require(self, experiment: str) -> None:
        """Return if `experiment` exists. Raises NotFound that names it and those that exist, Unavailable."""
        if await self._is_known(experiment_slug(experiment)):
            return
        known = sorted(await self.names())
        listed = ", ".join(known[:20]) + (f" and {len(known) - 20} more" if len(known) > 20 else "")
        raise NotFound(
            f"there is no experiment {experiment!r}; " + (f"there are: {listed}" if known else "there is none")
        )

    async def names(self) -> set[str]:
        """The names of all experiments. Raises Unavailable without a bus."""
        return set(self._heard) | set(await self._ledgers()) | await self._stored_names()

    async def experiments(self) -> list[Experiment]:
        """All experiments, sorted by name. Raises Unavailable without a bus."""
        ledgers = await self._ledgers()
        for name in await self._stored_names():
            await self._recall(name)
        return [self._experiment(name, ledgers.get(name)) for name in sorted(set(self._heard) | set(ledgers))]

    async def experiment(self, name: str) -> Experiment:
        """One experiment. Raises InvalidArgument, NotFound, Unavailable."""
        await self._recall(experiment_slug(name))
        entry = await self.ledger_entry(name)
        if entry is None and self.status(name) is None:
            await self.require(name)
        return self._experiment(name, entry)

    async def ledger_entry(self, experiment: str) -> LedgerExperiment | None:
        """What the ledger that holds `experiment` says of it; None when no ledger does. Raises Unavailable."""
        return (await self._ledgers(wanted=experiment)).get(experiment)

    def _experiment(self, name: str, entry: LedgerExperiment | None) -> Experiment:
        experiment = Experiment(
            experiment=name,
            status=self.status(name),
            trainer_connected=self.trainer_connected(name),
            ledger_connected=entry is not None,
        )
        if entry is not None:
            experiment.revision = entry.revision
            experiment.counters = entry.counters
        return experiment

    async def _is_known(self, experiment: str) -> bool:
        if experiment in self._heard:
            return True
        await self._recall(experiment)
        return experiment in self._heard or await self.ledger_entry(experiment) is not None

    async def _on_status(self, message: Msg) -> None:
        try:
            name = experiment_slug(subjects.experiment_of(message.subject))
            status = parsed(RunStatus, message.data)
        except Exception as error:
            log.warning("a status on %s is not readable: %s", message.subject, error)
            return
        self._note(name, status, at=time.monotonic())
        for listener in tuple(self._listeners.get(name, ())):
            listener(self._heard[name].status)

    def _note(self, name: str, status: RunStatus, *, at: float) -> None:
        heard = self._heard.get(name)
        if heard is None:
            if len(self._heard) < MAX_EXPERIMENTS:
                self._heard[name] = _Heard(status, at)
            return
        heard.at = max(heard.at, at)
        if status.run_id != heard.status.run_id or status.sequence >= heard.status.sequence:
            heard.status = status

    async def _recall(self, experiment: str) -> None:
        """Read the stored status of `experiment`, unless one was heard."""
        if experiment in self._heard:
            return
        try:
            stored = await self._bus.last_status(experiment)
            status = None if stored is None else parsed(RunStatus, stored)
        except (Unavailable, InvalidArgument, nats.errors.Error, TimeoutError) as error:
            log.debug("the stored status of %s could not be read: %s", experiment, error)
            return
        if status is not None and experiment not in self._heard:
            # When it was sent is known by the trainer's clock only, so it does not count as connected.
            self._note(experiment, status, at=-CONNECTED_SECS)

    async def _stored_names(self) -> set[str]:
        if not self._bus.connected:
            return set()
        try:
            info = await self._bus.js.stream_info(STATUS_STREAM.name or "", subjects_filter="wl.*.status")
        except (nats.errors.Error, TimeoutError) as error:
            log.debug("the stored statuses could not be listed: %s", error)
            return set()
        return {subjects.experiment_of(subject) for subject in info.state.subjects or {}}

    async def missing_parts(self) -> list[str]:
        """Which of the parts that the gateway cannot work without do not answer: `bus`, `ledger`, `store`.

        Without a bus nothing is known of a store, without a ledger neither.
        """
        try:
            replies = await self._ask_ledgers()
        except Unavailable:
            return ["bus", "ledger"]
        if not replies:
            return ["ledger"]
        return [] if any(reply.store_connected for reply in replies) else ["store"]

    async def _ledgers(self, *, wanted: str | None = None) -> dict[str, LedgerExperiment]:
        """What all ledgers hold, by experiment; returns as soon as `wanted` is found. Raises Unavailable."""
        replies = await self._ask_ledgers(wanted=wanted)
        return {entry.experiment: entry for reply in replies for entry in reply.experiments}

    async def _ask_ledgers(self, *, wanted: str | None = None) -> list[ListLedgerExperimentsResponse]:
        """What each ledger says; returns as soon as one holds `wanted`. Raises Unavailable without a bus."""
        if not self._bus.connected:
            raise Unavailable(NOT_CONNECTED)
        client = self._bus.client
        inbox = client.new_inbox()
        replies: asyncio.Queue[Msg] = asyncio.Queue()
        subscription = await client.subscribe(inbox, cb=replies.put)
        found: list[ListLedgerExperimentsResponse] = []
        try:
            subject = subjects.ledger(subjects.ALL_EXPERIMENTS, "list")
            await client.publish(subject, encoded(ListLedgerExperimentsRequest()), reply=inbox)
            patience_secs = FIRST_ANSWER_SECS
            while not any(entry.experiment == wanted for reply in found for entry in reply.experiments):
                try:
                    # No wait_for: before Python 3.12 it drops a cancellation that comes together with a reply.
                    async with asyncio.timeout(patience_secs):
                        message = await replies.get()
                except TimeoutError:
                    break
                if message.headers and "Status" in message.headers:
                    break
                found.append(parsed(ListLedgerExperimentsResponse, message.data))
                patience_secs = QUIET_SECS
        finally:
            await subscription.unsubscribe()
        return found
