"""The publisher thread: everything of the trainer that speaks on the bus. The training thread never waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import betterproto
import nats.errors
import nats.js.errors
from weightslab_common import subjects
from weightslab_common.bus import RUN_STREAM, Bus, MessageT
from weightslab_common.errors import FailedPrecondition, Unavailable, WeightsLabError
from weightslab_common.messages import encoded, parsed
from weightslab_proto.weightslab.bus.v1 import (
    EditEvent,
    LiveUpdate,
    SampleValueBatch,
    SignalBatch,
    SplitRegistration,
)

from weightslab import tuning
from weightslab.discards import Discards
from weightslab.fold import Fold
from weightslab.handlers import Handlers
from weightslab.media import MediaWorker
from weightslab.outbox import Outbox, Outgoing
from weightslab.prediction_store import PredictionStore
from weightslab.predictions import entries
from weightslab.registration import registrations
from weightslab.run import Run
from weightslab.split import Split
from weightslab.status import StatusReport

log = logging.getLogger(__name__)

_DRAIN_SECS = 0.25
_KEEP_SECS = 0.2
_FILE_SECS = 0.5
_STATUS_SECS = 1.0
# At each change, but not more often than this.
_STATUS_MIN_SECS = 0.05
_LIVE_SECS = 1.0
_STOP_SECS = 5.0
_LEDGER_SECS = 10.0
_FAULT_PAUSE_SECS = 1.0
# This share of the spool is for curves and registrations when values of samples have filled the rest.
_CURVE_SHARE = 0.25

_BUS_ERRORS = (nats.errors.Error, nats.js.errors.Error, OSError, TimeoutError, WeightsLabError)


class Publisher:
    """Start it with `start`, end it with `stop`; everything else runs on its own thread."""

    def __init__(
        self,
        run: Run,
        *,
        experiment: str,
        nats_url: str,
        nats_token: str | None,
        nats_tls: ssl.SSLContext | None,
        folder: Path,
        predictions: PredictionStore,
        handlers: Handlers,
        media: MediaWorker,
        speaks: bool = True,
    ) -> None:
        self._run = run
        self._experiment = experiment
        self._nats_url = nats_url
        self._nats_token = nats_token
        self._nats_tls = nats_tls
        self._folder = folder
        self._predictions = predictions
        self._handlers = handlers
        self._media = media
        # Another rank than the first publishes values of samples and nothing else.
        self._speaks = speaks
        self._sequence: Iterator[int] = count(1)
        self._status_sequence: Iterator[int] = count(1)
        self._dropped_values = 0
        self._faulty_predictions = 0
        # Whether the last message could not be stored.
        self._refused = False
        self._live_heard = 0.0
        self._registered: list[Split] = []
        self._stream_created: object = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._started = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._main, name="weightslab-publisher", daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._started.wait()

    def stop(self) -> None:
        """Send what waits, for a few seconds at most, and end the thread. What could not be sent stays on disk."""
        if not self._stopped and self._loop is not None:
            self._stopped = True
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()

    def changed(self) -> None:
        """Called from any thread: the status is to be sent."""
        if self._loop is not None and not self._stopped:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._status_due.set)

    def ask_ledger(self, method: str, request: betterproto.Message, reply_type: type[MessageT]) -> MessageT:
        """Called from another thread, which waits. Raises what the ledger raised, or Unavailable."""
        if self._loop is None or self._stopped:
            raise Unavailable("the run is not served any more")
        asked = asyncio.run_coroutine_threadsafe(self._ask_ledger(method, request, reply_type), self._loop)
        return asked.result()

    @property
    def dropped_values(self) -> int:
        return self._dropped_values + self._run.ring.dropped_values

    @property
    def dropped_predictions(self) -> int:
        return self._faulty_predictions + self._predictions.dropped + self._run.predictions.dropped_values

    async def _ask_ledger(self, method: str, request: betterproto.Message, reply_type: type[MessageT]) -> MessageT:
        if self._bus is None:
            raise Unavailable("the message bus is not connected: is NATS running?")
        subject = subjects.ledger(self._experiment, method)
        return await self._bus.request(subject, request, reply_type, timeout_secs=_LEDGER_SECS, part="ledger")

    def _main(self) -> None:
        try:
            asyncio.run(self._publish())
        except Exception:
            log.exception("the publisher has stopped by a fault; training goes on without it")
        finally:
            self._started.set()

    async def _publish(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self._status_due = asyncio.Event()
        self._outbox_filled = asyncio.Event()
        self._outbox_empty = asyncio.Event()
        self._outbox = Outbox(self._folder / "spool", name=self._run.run_id)
        self._report = StatusReport(self._run, experiment=self._experiment)
        self._discards = Discards(self._run, folder=self._folder / "discards")
        self._bus: Bus | None = None
        self._recall()
        self._started.set()
        tasks = [
            asyncio.create_task(work)
            for work in (
                _kept_up(self._drain_always),
                _kept_up(self._keep_always),
                _kept_up(self._follow_files),
                _kept_up(self._connect_and_send),
            )
        ]
        try:
            await self._stopping.wait()
            await self._send_rest()
        finally:
            await _cancelled(tasks)
            await self._media.stop()
            self._outbox.close()
            if self._bus:
                await self._bus.close()

    # What goes out.

    async def _drain_always(self) -> None:
        while True:
            self._drain()
            await asyncio.sleep(_DRAIN_SECS)

    async def _follow_files(self) -> None:
        while True:
            try:
                tuning.follow_files(self._run)
            except FailedPrecondition as error:
                log.debug("a changed hyperparameter file comes too late: %s", error)
            await asyncio.sleep(_FILE_SECS)

    async def _keep_always(self) -> None:
        while True:
            if not self._run.predictions.empty:
                await asyncio.to_thread(self._keep_predictions)
            await asyncio.sleep(_KEEP_SECS)

    def _keep_predictions(self) -> None:
        for record in self._run.predictions.take():
            try:
                self._predictions.put(entries(record))
            except (OSError, sqlite3.Error, ValueError, WeightsLabError) as error:
                self._faulty_predictions += len(record.batch.positions)
                log.warning("predictions of %d samples are not kept: %s", len(record.batch.positions), error)

    def _recall(self) -> None:
        for split in list(self._run.splits.values()) if self._speaks else ():
            self._discards.recall(split)

    @property
    def _is_connected(self) -> bool:
        return self._bus is not None and self._bus.connected

    @property
    def _bus_takes(self) -> bool:
        """Whether messages are stored: a bus with a full disk is connected and stores none."""
        return self._is_connected and not self._refused

    def _drain(self) -> None:
        if not self._bus_takes:
            self._outbox.keep()
        for split in list(self._run.splits.values()):
            if split not in self._registered:
                self._register(split)
        fold = Fold(self._run.ring.take())
        for signals in fold.signal_batches() if self._speaks else ():
            self._queue(subjects.SIGNALS, signals, values=sum(len(column.values) // 8 for column in signals.columns))
        for values in fold.value_batches():
            number = len(values.positions) // 4 * len(values.columns)
            self._queue(subjects.VALUES, values, values=number, spare_share=_CURVE_SHARE)

    def _register(self, split: Split) -> None:
        self._registered.append(split)
        if not self._speaks:
            return
        for part in registrations(split.catalog):
            self._queue(subjects.SAMPLES, part, values=0)
        self._discards.refresh()
        self._media.add(split)

    def _queue(
        self,
        what: str,
        message: SignalBatch | SampleValueBatch | SplitRegistration,
        *,
        values: int,
        spare_share: float = 0.0,
    ) -> None:
        message.run_id = self._run.run_id
        message.sequence = next(self._sequence)
        outgoing = Outgoing(
            subjects.subject(self._experiment, what),
            message_id=f"{message.run_id}-{what}-{message.sequence}",
            payload=encoded(message),
        )
        if self._outbox.put(outgoing, spare_share=spare_share, to_disk=not self._bus_takes):
            self._outbox_empty.clear()
            self._outbox_filled.set()
        else:
            self._dropped_values += values
            self.changed()

    # The connection.

    async def _connect_and_send(self) -> None:
        self._bus = await Bus.connect(
            self._nats_url,
            name=f"trainer {self._experiment}",
            token=self._nats_token,
            tls=self._nats_tls,
            on_reconnect=self._reconnected,
        )
        await self._prepare_streams()
        if not self._speaks:
            await _kept_up(self._send_always)
            return
        await self._subscribe(self._bus)
        self._discards.attach(self._bus, self._experiment)
        bus = self._bus
        await asyncio.gather(
            _kept_up(self._send_always),
            _kept_up(self._tell_status),
            _kept_up(self._discards.follow),
            _kept_up(lambda: self._media.run(bus)),
        )

    async def _subscribe(self, bus: Bus) -> None:
        await self._handlers.serve(bus, self._experiment, apply=self._discards.apply, tell=self._send_status)

        async def edited(message: Any) -> None:
            await self._discards.hear(parsed(EditEvent, message.data))

        async def lives(message: Any) -> None:
            # They repeat where the ledger stands, and carry curves that cost time to decode.
            if time.monotonic() - self._live_heard >= _LIVE_SECS:
                self._live_heard = time.monotonic()
                await self._discards.hear_live(parsed(LiveUpdate, message.data))

        await bus.client.subscribe(subjects.subject(self._experiment, subjects.EDITS), cb=edited)
        await bus.client.subscribe(subjects.subject(self._experiment, subjects.LIVE), cb=lives)

    def _reconnected(self) -> None:
        self._discards.refresh()
        self._stream_created = self._stream_created or "unknown"
        asyncio.get_running_loop().create_task(self._prepare_streams())

    async def _prepare_streams(self) -> None:
        """See that the streams exist; when the bus lost its own, everything registered is registered again."""
        assert self._bus is not None
        while True:
            try:
                await self._bus.ensure_streams()
                created = (await self._bus.js.stream_info(RUN_STREAM.name or "")).created
                break
            except _BUS_ERRORS as error:
                log.debug("the streams are not ready: %s", error)
                await asyncio.sleep(0.25)
        if self._stream_created not in (None, created):
            self._registered.clear()
        self._stream_created = created
        self.changed()

    async def _send_always(self) -> None:
        """Store messages one after the other, each until it is acknowledged."""
        while True:
            message = self._outbox.head()
            if message is None:
                self._outbox_filled.clear()
                self._outbox_empty.set()
                await self._outbox_filled.wait()
                continue
            if await self._store(message):
                self._outbox.pop()

    async def _store(self, message: Outgoing) -> bool:
        assert self._bus is not None
        if self._bus.connected:
            try:
                await self._bus.store(message.subject, message.payload, message_id=message.message_id)
                self._refused = False
                return True
            except nats.errors.MaxPayloadError:
                # It will never go, and everything else waits behind it.
                log.error(
                    "%s takes %d bytes, more than the bus takes in a message, and is left out; "
                    "raise max_payload of NATS, or register less text with a sample or a class",
                    message.message_id,
                    len(message.payload),
                )
                self._dropped_values += 1
                return True
            except _BUS_ERRORS as error:
                self._refused = True
                log.debug("%s is not stored yet: %s", message.message_id, error)
        await asyncio.sleep(0.1)
        return False

    async def _tell_status(self) -> None:
        while True:
            await self._send_status()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._status_due.wait(), timeout=_STATUS_SECS)
            await asyncio.sleep(_STATUS_MIN_SECS)

    async def _send_status(self) -> None:
        self._status_due.clear()
        if not self._speaks or not self._is_connected:
            return
        status = self._report.make(
            sequence=next(self._status_sequence),
            applied_revision=self._discards.revision,
            dropped_values=self.dropped_values,
            dropped_predictions=self.dropped_predictions,
            outbox_messages=len(self._outbox),
            checkpoints=self._handlers.checkpoints,
        )
        await self._store_status(status, f"{self._run.run_id}-status-{status.sequence}")

    async def _store_status(self, status: betterproto.Message, message_id: str) -> None:
        assert self._bus is not None
        subject = subjects.subject(self._experiment, subjects.STATUS)
        try:
            await self._bus.store(subject, encoded(status), message_id=message_id)
        except _BUS_ERRORS as error:
            log.debug("the status is not stored: %s", error)

    async def _send_rest(self) -> None:
        """Everything that was recorded, and the last status, as long as the bus takes it."""
        self._drain()
        self._keep_predictions()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_SECS):
                if self._is_connected:
                    await self._outbox_empty.wait()
                await self._send_status()


async def _kept_up(work: Callable[[], Awaitable[None]]) -> None:
    """Do `work` again after a fault, which must not cost the run its eyes: the training goes on anyway."""
    while True:
        try:
            await work()
        except Exception as error:
            if isinstance(error, RuntimeError) and not threading.main_thread().is_alive():
                # The interpreter is ending and starts no more threads; what is left goes out when we are stopped.
                return
            log.exception("a fault in the publisher; it goes on")
            await asyncio.sleep(_FAULT_PAUSE_SECS)


async def _cancelled(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel tasks and wait until they have ended.

    Before Python 3.12 `asyncio.wait_for` can swallow a cancellation that meets its result: asked again, it ends.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=0.2)
    await asyncio.gather(*tasks, return_exceptions=True)
