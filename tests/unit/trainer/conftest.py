"""Fixtures of the trainer: small data, a loop on a thread of its own, a bus with a ledger's answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import weightslab as wl
from weightslab_common.bus import Bus

from tests.unit.trainer.peers import Peer, new_experiment
from tests.unit.trainer.served import Script


@pytest.fixture(autouse=True)
def one_thread_and_a_seed() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def nothing_stays_watched() -> Iterator[None]:
    yield
    wl.stop()


@pytest.fixture
async def peer(nats_url: str) -> AsyncIterator[Peer]:
    """The ledger and the gateway of an experiment of its own."""
    bus = await Bus.connect(nats_url, name="peer")
    await bus.ensure_streams()
    yield Peer(bus, new_experiment())
    await bus.close()


@pytest.fixture
def script(
    nats_url: str, peer: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Script]]:
    """Makes scripts that are served to `peer`; ends them."""
    made: list[Script] = []
    monkeypatch.setenv("WL_MEDIA_WORKER", "thread")

    def make(**options: Any) -> Script:
        made.append(Script(tmp_path, nats_url=nats_url, experiment=peer.experiment, monkeypatch=monkeypatch, **options))
        return made[-1]

    yield make
    for each in made:
        each.end()
