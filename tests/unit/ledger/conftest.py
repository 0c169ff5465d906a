"""A ledger in this process, against a real bus and a real store."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from weightslab_common.bus import Bus
from weightslab_ledger.service import open_ledger
from weightslab_ledger.settings import LedgerSettings

from tests.unit.ledger.trainers import Client, Trainer, forget_others


class Studio:
    """One experiment with a trainer that publishes, and a ledger that can be started and stopped."""

    def __init__(self, bus: Bus, settings: LedgerSettings) -> None:
        self.bus = bus
        self.settings = settings
        self.experiment = f"test-{uuid.uuid4().hex[:12]}"
        self.trainer = Trainer(bus, self.experiment)
        self.client = Client(bus, self.experiment)

    @contextlib.asynccontextmanager
    async def ledger(self) -> AsyncIterator[None]:
        async with open_ledger(self.settings):
            yield


@pytest.fixture
async def studio(nats_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Studio]:
    bus = await Bus.connect(nats_url, name="test")
    await forget_others(bus, redis_url)
    settings = LedgerSettings(nats_url=nats_url, redis_url=redis_url, data_dir=tmp_path, _env_file=None)  # type: ignore[call-arg]
    studio = Studio(bus, settings)
    yield studio
    await bus.close()
