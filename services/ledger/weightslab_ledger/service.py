"""The ledger service: finds experiments, owns those it can, and answers for them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
from collections.abc import AsyncIterator, Iterator

import nats.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js.errors import Error as JetStreamError
from prometheus_client import CollectorRegistry
from weightslab_common import names, subjects
from weightslab_common.admin import Admin
from weightslab_common.bus import RUN_STREAM, Bus
from weightslab_common.bus_tls import context_of
from weightslab_common.errors import InvalidArgument, Unavailable, WeightsLabError
from weightslab_common.http_server import HttpServer
from weightslab_common.messages import parsed
from weightslab_common.ports import take_port
from weightslab_common.service import background, stop_if_cancelled
from weightslab_proto.weightslab.bus.v1 import (
    LedgerExperiment,
    ListLedgerExperimentsRequest,
    ListLedgerExperimentsResponse,
)
from weightslab_proto.weightslab.v1 import RunStatus

from weightslab_ledger.dormancy import Doorbell
from weightslab_ledger.experiment import Experiment
from weightslab_ledger.handlers import Handlers
from weightslab_ledger.lease import RENEW_SECS, Lease
from weightslab_ledger.live import BEAT_SECS
from weightslab_ledger.metrics import Connections, LedgerCollector, Reading, registry_of
from weightslab_ledger.settings import LedgerSettings
from weightslab_ledger.store import EXPERIMENTS, Store

log = logging.getLogger(__name__)

_DISCOVERY_SECS = 1.0
_RETRY_SECS = 0.3


class Ledger:
    """One ledger process."""

    def __init__(self, settings: LedgerSettings, *, bus: Bus, store: Store) -> None:
        self._settings = settings
        self._bus = bus
        self._store = store
        self.ledger_id = f"{socket.gethostname()}-{secrets.token_hex(4)}"
        self._owned: dict[str, Experiment] = {}
        # Owned as well, but not in memory.
        self._dormant: dict[str, Doorbell] = {}
        # One task per known experiment that takes, keeps and gives up its lease.
        self._keepers: dict[str, asyncio.Task[None]] = {}

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve, while in this context."""
        await self._make_streams()
        try:
            # Both end before the keepers do: they make new ones.
            async with self._hearing(), background(asyncio.create_task(self._discover())):
                yield
        finally:
            async with background(*self._keepers.values(), patience_secs=30):
                pass

    @contextlib.asynccontextmanager
    async def _hearing(self) -> AsyncIterator[None]:
        """Answer what is asked of every ledger, and listen to every trainer, while in this context."""
        subject = subjects.ledger(subjects.ALL_EXPERIMENTS, "list")
        async with _ending() as subscriptions:
            subscriptions.append(await self._bus.serve(subject, ListLedgerExperimentsRequest, self._list))
            for what in (subjects.STATUS, subjects.SAMPLES):
                heard = await self._bus.client.subscribe(subjects.subject("*", what), cb=self._heard)
                subscriptions.append(heard)
            yield

    async def _make_streams(self) -> None:
        """See that the streams exist; a cluster that has no leader yet is waited for."""
        while True:
            try:
                await self._bus.ensure_streams(replicas=self._settings.stream_replicas)
                return
            except (nats.errors.Error, JetStreamError, TimeoutError) as error:
                log.warning("the streams cannot be made yet: %s", error)
                await asyncio.sleep(_RETRY_SECS)

    async def missing_parts(self) -> list[str]:
        """Which of the two servers do not answer."""
        missing = [] if self._bus.connected else ["bus"]
        return missing if await self._store_answers() else [*missing, "store"]

    async def _store_answers(self) -> bool:
        try:
            with self._store.reaching() as client:
                await client.ping()
        except Unavailable:
            return False
        return True

    def registry(self) -> CollectorRegistry:
        """What Prometheus reads."""
        return registry_of(LedgerCollector(connections=self._connections, readings=self._readings))

    def _connections(self) -> Connections:
        return Connections(bus=self._bus.connected, store=self._store.reached)

    def _readings(self) -> Iterator[Reading]:
        for name, experiment in sorted(self._owned.items()):
            state = experiment.editor.state
            yield Reading(name, state.revision, experiment.catalog.row_count, experiment.ingest.counts)
        for name, bell in sorted(self._dormant.items()):
            yield Reading(name, bell.dormant.revision, bell.dormant.counters.total, None)

    async def _list(self, request: ListLedgerExperimentsRequest) -> ListLedgerExperimentsResponse:
        known = {name: experiment.dormant() for name, experiment in self._owned.items()}
        known |= {name: bell.dormant for name, bell in self._dormant.items()}
        return ListLedgerExperimentsResponse(
            experiments=[
                LedgerExperiment(experiment=name, revision=state.revision, counters=state.counters)
                for name, state in sorted(known.items())
            ],
            store_connected=await self._store.answers(),
        )

    async def _heard(self, message: Msg) -> None:
        name = subjects.experiment_of(message.subject)
        self._know(name)
        if name in self._dormant:
            self._dormant[name].ring()
        experiment = self._owned.get(name)
        if experiment is None or not message.subject.endswith("." + subjects.STATUS):
            return
        try:
            await experiment.heard(parsed(RunStatus, message.data))
        except Exception:
            log.exception("a status of %r could not be used", name)

    def _know(self, name: str) -> None:
        """Begin to care for an experiment."""
        if name in self._keepers:
            return
        try:
            names.experiment_slug(name)
        except InvalidArgument as error:
            log.debug("not cared for: %s", error)
            return
        self._keepers[name] = asyncio.create_task(self._keep(name))

    async def _discover(self) -> None:
        """Look for experiments in the store and in the stream, for ever."""
        asked = False
        while True:
            stop_if_cancelled()
            try:
                if not asked:
                    if warning := await self._store.durability_warning():
                        log.warning(warning)
                    asked = True
                with self._store.reaching() as client:
                    known = await client.smembers(EXPERIMENTS)
                registered = (
                    await self._bus.js.stream_info(
                        RUN_STREAM.name or "", subjects_filter=subjects.subject("*", subjects.SAMPLES)
                    )
                ).state.subjects
                for name in {raw.decode() for raw in known} | set(map(subjects.experiment_of, registered or {})):
                    self._know(name)
            except (WeightsLabError, nats.errors.Error, JetStreamError, TimeoutError) as error:
                log.debug("discovery failed: %s", error)
            await asyncio.sleep(_DISCOVERY_SECS)

    async def _keep(self, name: str) -> None:
        """Take the lease of an experiment whenever it is free, and serve it while it is held; for ever."""
        while True:
            stop_if_cancelled()
            lease = Lease(self._store, experiment=name, owner=self.ledger_id)
            try:
                if await lease.acquire():
                    with self._store.reaching() as client:
                        await client.sadd(EXPERIMENTS, name)
                    await self._own(name, lease)
            except Unavailable as error:
                log.warning("experiment %r waits: %s", name, error)
            except Exception:
                log.exception("experiment %r could not be served and is tried again", name)
            await asyncio.sleep(_RETRY_SECS)

    async def _own(self, name: str, lease: Lease) -> None:
        """Serve an experiment until its lease is lost; while nobody uses it, without having it in memory."""
        renewing = asyncio.create_task(_renew(name, lease))
        bell = Doorbell(self._bus, name)
        try:
            while not renewing.done():
                if not await self._serve(name, lease, renewing, bell):
                    break
                log.info("experiment %r is idle and leaves memory until somebody asks for it", name)
                await self._sleep(name, renewing, bell)
            log.warning("experiment %r is owned by another ledger now, and is not answered for any more", name)
        finally:
            await bell.close()
            async with background(renewing):
                pass
            with contextlib.suppress(Unavailable):
                await lease.release()

    async def _serve(self, name: str, lease: Lease, renewing: asyncio.Task[None], bell: Doorbell) -> bool:
        """Serve an experiment until it is idle, then open `bell`, which calls it back; false when its lease is lost."""
        experiment = Experiment(
            name, ledger_id=self.ledger_id, settings=self._settings, bus=self._bus, store=self._store, lease=lease
        )
        await experiment.load()
        async with experiment.running() as tasks, self._answering(experiment):
            await bell.hand_on()
            self._owned[name] = experiment
            idle = asyncio.create_task(experiment.activity.idle(self._settings.idle_unload_secs))
            try:
                async with background(idle):
                    # Lost on the way here it would be missed until the service gives up.
                    stop_if_cancelled()
                    ended, _ = await asyncio.wait([renewing, idle, *tasks], return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._owned.pop(name, None)
            for task in ended:
                task.result()
            if ended != {idle}:
                return False
            # It listens before the others stop, so that no request finds nobody.
            await bell.open(experiment.dormant())
            return True

    async def _sleep(self, name: str, renewing: asyncio.Task[None], bell: Doorbell) -> None:
        """Tell once a second what is known of an experiment, until somebody wants it or its lease is lost."""
        self._dormant[name] = bell
        waking = asyncio.create_task(bell.rung())
        try:
            async with background(waking):
                while not waking.done() and not renewing.done():
                    with contextlib.suppress(nats.errors.Error, OSError):
                        await self._bus.publish(
                            subjects.subject(name, subjects.LIVE), bell.dormant.beat(self.ledger_id)
                        )
                    await asyncio.wait([waking, renewing], timeout=BEAT_SECS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._dormant.pop(name, None)

    @contextlib.asynccontextmanager
    async def _answering(self, experiment: Experiment) -> AsyncIterator[None]:
        async with _ending() as subscriptions:
            for method, (request_type, handler) in Handlers(experiment).methods().items():
                subject = subjects.ledger(experiment.name, method)
                answer = experiment.activity.noting(handler)
                # An edit that is being written must be told to everyone.
                may_stop = method not in ("edit_samples", "undo_edit")
                subscriptions.append(await self._bus.serve(subject, request_type, answer, may_stop=may_stop))
            yield


@contextlib.asynccontextmanager
async def _ending() -> AsyncIterator[list[Subscription]]:
    """A list of subscriptions that end with this context."""
    subscriptions: list[Subscription] = []
    try:
        yield subscriptions
    finally:
        for subscription in subscriptions:
            with contextlib.suppress(nats.errors.Error, OSError):
                await subscription.unsubscribe()


async def _renew(name: str, lease: Lease) -> None:
    """Prolong a lease until another owner has it. A store that is away is waited for."""
    while True:
        stop_if_cancelled()
        await asyncio.sleep(RENEW_SECS)
        try:
            if not await lease.acquire():
                return
        except Unavailable as error:
            log.warning("the lease of %r cannot be prolonged: %s", name, error)


@contextlib.asynccontextmanager
async def open_ledger(settings: LedgerSettings) -> AsyncIterator[None]:
    """Connect and serve; waits for the bus, however long it takes. Raises PortBusy, BadCertificate."""
    tls = context_of(settings)
    bus = Bus.not_yet_connected()
    async with contextlib.AsyncExitStack() as stack:
        store = Store(settings.redis_url)
        stack.push_async_callback(store.close)
        ledger = Ledger(settings, bus=bus, store=store)
        await stack.enter_async_context(_administered(settings, ledger))
        await bus.open(settings.nats_url, name="ledger", token=settings.nats_token, tls=tls)
        stack.push_async_callback(bus.close)
        await stack.enter_async_context(ledger.running())
        log.info("ledger %s is ready", ledger.ledger_id)
        yield


@contextlib.asynccontextmanager
async def _administered(settings: LedgerSettings, ledger: Ledger) -> AsyncIterator[None]:
    """Answer operators, if a port is set for it. Raises PortBusy."""
    if settings.admin_port is None:
        yield
        return
    listening = take_port(
        host=settings.bind, port=settings.admin_port, setting="WL_LEDGER_ADMIN_PORT", bind_setting="WL_LEDGER_BIND"
    )
    server = HttpServer(Admin(registry=ledger.registry(), missing=ledger.missing_parts))
    await server.start(listening)
    try:
        yield
    finally:
        await server.close()
