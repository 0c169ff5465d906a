"""A ledger that is told to stop stops, whatever its connections are doing at that moment."""

from __future__ import annotations

import asyncio
from pathlib import Path

from weightslab_common.bus import RUN_STREAM
from weightslab_ledger.catalog import Catalog
from weightslab_ledger.catalog_store import CatalogStore
from weightslab_ledger.consumer import StreamReader
from weightslab_ledger.ingest import Ingest
from weightslab_ledger.store import Store

from tests.unit.ledger.conftest import Studio


async def test_a_reader_is_cancelled_at_the_moment_its_bus_closes(studio: Studio, tmp_path: Path) -> None:
    """nats-py then raises its own error in the place of the cancellation."""
    store = Store(studio.settings.redis_url)
    ingest = Ingest(
        catalog=Catalog(),
        catalog_store=CatalogStore(store, studio.experiment),
        folder=tmp_path / "read",
        token=1,
        values_bytes=1 << 20,
    )
    ingest.load()
    reader = StreamReader(studio.bus, experiment=studio.experiment, ingest=ingest)
    reading = asyncio.create_task(reader.run(snapshot_interval_secs=60))
    for _ in range(1500):
        if await _waits(studio):
            break
        await asyncio.sleep(0.02)
    closing = asyncio.create_task(studio.bus.client.close())
    # It calls itself closed before it does anything else.
    await asyncio.sleep(0)
    assert studio.bus.client.is_closed
    reading.cancel()
    await asyncio.wait([reading], timeout=30)
    assert reading.cancelled()
    await closing
    ingest.close()
    await store.close()
    await studio.bus.open(studio.settings.nats_url, name="test")


async def _waits(studio: Studio) -> bool:
    """Whether the reader's consumer is there and asks for messages."""
    consumers = await studio.bus.js.consumers_info(RUN_STREAM.name or "")
    return any(f"-{studio.experiment}-" in consumer.name and consumer.num_waiting for consumer in consumers)
