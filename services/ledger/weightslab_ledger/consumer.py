"""Reading the stream: a pull consumer that begins where our files end."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import nats.errors
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import Error as JetStreamError
from nats.js.errors import NotFoundError
from weightslab_common import subjects
from weightslab_common.bus import RUN_STREAM, Bus
from weightslab_common.errors import WeightsLabError
from weightslab_common.service import stop_if_cancelled

from weightslab_ledger.ingest import Ingest, Message, message_kind

log = logging.getLogger(__name__)

# NATS hangs up on a client to which 64 MiB are on their way; trainers keep their messages to half a MiB.
_BATCH = 32
_WAIT_SECS = 1.0
_LINGER_SECS = 0.03
_RETRY_SECS = 0.5
# After so many empty reads the server is asked whether the consumer still exists.
_EMPTY_READS = 5


class StreamReader:
    """Feeds one experiment's messages to its `Ingest`, over every loss of the bus and the store."""

    def __init__(self, bus: Bus, *, experiment: str, ingest: Ingest) -> None:
        self._bus = bus
        self._experiment = experiment
        self._ingest = ingest
        # One per owner, so that a former one cannot take messages away from the present one.
        self._name = f"ledger-{experiment}-{ingest.token}"
        self._stream = RUN_STREAM.name or ""

    async def run(self, *, snapshot_interval_secs: float) -> None:
        """Read for ever."""
        while True:
            stop_if_cancelled()
            try:
                await self._read(await self._subscribe(), snapshot_interval_secs)
            except NotFoundError:
                log.warning("%s: the stream or its consumer is gone and is made anew", self._experiment)
                await self._make_streams()
            except (nats.errors.Error, JetStreamError, WeightsLabError, OSError, TimeoutError) as error:
                log.warning("%s: reading the stream failed and is tried again: %s", self._experiment, error)
                await asyncio.sleep(_RETRY_SECS)

    async def _make_streams(self) -> None:
        await asyncio.sleep(_RETRY_SECS)
        try:
            await self._bus.ensure_streams()
        except (nats.errors.Error, JetStreamError, TimeoutError) as error:
            log.debug("%s: the streams could not be made: %s", self._experiment, error)

    async def _subscribe(self) -> JetStreamContext.PullSubscription:
        """Make the consumer anew: it must begin where the files end, wherever an older one stood."""
        state = (await self._bus.js.stream_info(self._stream)).state
        if state.last_seq < self._ingest.position:
            log.warning("%s: the stream is younger than our files; it is read from its start", self._experiment)
            self._ingest.forget_position()
        await self.remove()
        await self._bus.js.add_consumer(
            self._stream,
            ConsumerConfig(
                durable_name=self._name,
                deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=self._ingest.position + 1,
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=60,
                filter_subjects=[
                    subjects.subject(self._experiment, what)
                    for what in (subjects.SIGNALS, subjects.VALUES, subjects.SAMPLES)
                ],
                inactive_threshold=3600,
            ),
        )
        return await self._bus.js.pull_subscribe_bind(self._name, stream=self._stream)

    async def remove(self) -> None:
        """Delete the consumer, if it is there."""
        try:
            await self._bus.js.delete_consumer(self._stream, self._name)
        except NotFoundError:
            log.debug("%s: there was no consumer yet", self._experiment)

    async def _read(self, subscription: JetStreamContext.PullSubscription, snapshot_interval_secs: float) -> None:
        loop = asyncio.get_running_loop()
        next_snapshot = loop.time() + snapshot_interval_secs
        empty_reads = 0
        try:
            while True:
                stop_if_cancelled()
                messages = await self._fetch(subscription)
                if messages:
                    await self._ingest.take(sorted(map(_message, messages), key=lambda message: message.position))
                    for message in messages:
                        await message.ack()
                empty_reads = 0 if messages else empty_reads + 1
                if empty_reads >= _EMPTY_READS:
                    await self._bus.js.consumer_info(self._stream, self._name)
                    empty_reads = 0
                if loop.time() >= next_snapshot and self._ingest.snapshot_due:
                    began = loop.time()
                    await self._ingest.save()
                    # Never spend more than a twentieth of the time on snapshots.
                    took = loop.time() - began
                    next_snapshot = loop.time() + max(snapshot_interval_secs, 20 * took)
        finally:
            # An error here would take the place of a cancellation.
            with contextlib.suppress(nats.errors.Error, OSError):
                await subscription.unsubscribe()

    async def _fetch(self, subscription: JetStreamContext.PullSubscription) -> list[Msg]:
        """What is there; waits a second for the first message, and only shortly for more."""
        try:
            first: list[Msg] = await subscription.fetch(1, timeout=_WAIT_SECS)
        except (nats.errors.TimeoutError, TimeoutError):
            return []
        try:
            return first + await subscription.fetch(_BATCH - 1, timeout=_LINGER_SECS)
        except (nats.errors.TimeoutError, TimeoutError):
            return first


def _message(message: Msg) -> Message:
    return Message(message_kind(message.subject), message.data, int(message.metadata.sequence.stream))
