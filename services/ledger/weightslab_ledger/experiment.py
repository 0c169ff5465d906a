"""An experiment that this ledger owns: everything it keeps, loaded when the lease is taken, given up with it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

import nats.errors
from weightslab_common import subjects
from weightslab_common.bus import Bus
from weightslab_common.errors import Unavailable
from weightslab_common.service import background, stop_if_cancelled
from weightslab_proto.weightslab.bus.v1 import LiveUpdate
from weightslab_proto.weightslab.v1 import RunStatus

from weightslab_ledger.catalog import Catalog
from weightslab_ledger.catalog_store import CatalogStore
from weightslab_ledger.consumer import StreamReader
from weightslab_ledger.counters import CounterCache
from weightslab_ledger.dormancy import Activity, Dormant
from weightslab_ledger.edit_store import EditStore
from weightslab_ledger.editor import Editor
from weightslab_ledger.frame import Frame, frame_of
from weightslab_ledger.ingest import Ingest
from weightslab_ledger.lease import Lease
from weightslab_ledger.live import LiveFeed
from weightslab_ledger.settings import LedgerSettings
from weightslab_ledger.store import Store
from weightslab_ledger.views import Views

log = logging.getLogger(__name__)


class Experiment:
    """The state of one owned experiment and the parts that change it."""

    def __init__(
        self, name: str, *, ledger_id: str, settings: LedgerSettings, bus: Bus, store: Store, lease: Lease
    ) -> None:
        self.name = name
        self.ledger_id = ledger_id
        self.store = store
        self.lease = lease
        self.catalog = Catalog()
        self._bus = bus
        self._settings = settings
        self._catalog_store = CatalogStore(store, name)
        self.ingest = Ingest(
            catalog=self.catalog,
            catalog_store=self._catalog_store,
            folder=settings.data_dir / "ledger" / name,
            token=lease.token,
            values_bytes=settings.values_bytes,
        )
        self.editor = Editor(
            experiment=name,
            bus=bus,
            store=EditStore(store, name),
            token=lease.token,
            row_count=lambda: self.catalog.row_count,
            counters=lambda: self.counters.get(),
        )
        self.counters = CounterCache(self.catalog, self.editor.state)
        self.views = Views(settings.view_cache_bytes)
        self.activity = Activity()

    def frame(self) -> Frame:
        """The samples as they are now."""
        return frame_of(self.catalog, self.ingest.snapshot.columns, self.editor.state)

    def dormant(self) -> Dormant:
        """What is told of the experiment while it is not in memory."""
        columns = self.ingest.snapshot.columns
        return Dormant(self.editor.state.revision, columns.value_version, self.counters.get())

    def require_ownership(self) -> None:
        """Raises Unavailable when another ledger may own the experiment, because the store cannot be reached."""
        if not self.lease.sure:
            raise Unavailable(
                f"the store (Redis at {self.store.address}) does not answer, so the ledger cannot be sure that it "
                f"still owns experiment {self.name!r}; is the store running and reachable?"
            )

    async def load(self) -> None:
        """Read what the store and the disk have, all at once. Raises Unavailable, OSError."""
        opening = asyncio.create_task(asyncio.to_thread(self.ingest.load))
        try:
            reading = [asyncio.create_task(self._load_catalog()), asyncio.create_task(self.editor.load())]
            async with background(*reading):
                await asyncio.gather(*reading)
            await asyncio.shield(opening)
            await asyncio.to_thread(self.ingest.convert_former)
        except BaseException:
            # The thread goes on, and opens files.
            await asyncio.wait([opening])
            if opening.exception() is None:
                self.ingest.close()
            raise
        log.info(
            "experiment %r is served: %d samples, revision %d, %d curves",
            self.name,
            self.catalog.row_count,
            self.editor.state.revision,
            len(self.ingest.curves.curves),
        )

    async def _load_catalog(self) -> None:
        async for part in self._catalog_store.load():
            self.catalog.apply(part)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[list[asyncio.Task[None]]]:
        """Take in the stream and tell what was stored, while in this context; gives the tasks, which never end."""
        reader = StreamReader(self._bus, experiment=self.name, ingest=self.ingest)
        feed = LiveFeed(
            ledger_id=self.ledger_id,
            curves=self.ingest.curves,
            revision=lambda: self.editor.state.revision,
            value_version=lambda: self.ingest.snapshot.columns.value_version,
            counters=self.counters.get,
        )
        reading = asyncio.create_task(reader.run(snapshot_interval_secs=self._settings.snapshot_interval_secs))
        telling = asyncio.create_task(feed.run(self._publish_live))
        checking = asyncio.create_task(self._finish_loading())
        try:
            async with background(reading, telling, checking):
                yield [reading, telling]
        finally:
            await self._close(reader)

    async def _finish_loading(self) -> None:
        """Do what no page waits for: index uids, and look for damage in old files."""
        while await asyncio.to_thread(self.catalog.index_some):
            stop_if_cancelled()
        try:
            while await asyncio.to_thread(self.ingest.values.check_next):
                stop_if_cancelled()
        except OSError as error:
            log.error("%s: the values on disk cannot be checked: %s", self.name, error)

    async def _close(self, reader: StreamReader) -> None:
        try:
            if self.ingest.snapshot_due:
                await self.ingest.save()
            await asyncio.to_thread(self.ingest.close)
        except OSError as error:
            log.error("%s: the last values are not on disk and will be read again from the bus: %s", self.name, error)
        if self._bus.connected:
            try:
                await reader.remove()
            except (nats.errors.Error, TimeoutError) as error:
                log.debug("%s: the consumer stays until it is old: %s", self.name, error)

    async def _publish_live(self, update: LiveUpdate) -> None:
        if not self.lease.sure:
            return
        try:
            await self._bus.publish(subjects.subject(self.name, subjects.LIVE), update)
        except (nats.errors.Error, OSError) as error:
            log.debug("%s: an update was not told: %s", self.name, error)

    async def heard(self, status: RunStatus) -> None:
        """A trainer spoke of itself."""
        self.activity.touch()
        await self.editor.obeyed(status.applied_revision, step=status.step + 1, branch=status.branch)
