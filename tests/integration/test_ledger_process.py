"""The ledger as a process: killed at any time, replaced by another, without its store."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from weightslab_common import embedded, subjects
from weightslab_common.bus import Bus
from weightslab_common.columns import F64, I64, unpack
from weightslab_common.errors import Unavailable
from weightslab_proto.weightslab.bus.v1 import (
    GetDiscardsRequest,
    GetDiscardsResponse,
    LedgerHealthRequest,
    LedgerHealthResponse,
    LiveUpdate,
)
from weightslab_proto.weightslab.v1 import (
    EditOperation,
    EditSamplesResponse,
    GetCurvesRequest,
    GetCurvesResponse,
    ListColumnsRequest,
    ListColumnsResponse,
    ListEditsRequest,
    ListEditsResponse,
    QuerySamplesRequest,
    QuerySamplesResponse,
)

from tests.support.processes import Process, accepts, wait_until
from tests.unit.ledger.trainers import Client, Trainer, edit_request, forget_others, samples

UIDS = [f"u{i}" for i in range(50)]
ANY = QuerySamplesRequest(limit=1)
PAGE = QuerySamplesRequest(limit=50, columns=["train/loss", "train/loss.count", "train/loss.mean"])


class Bench:
    """An experiment of its own on the shared bus and store, with ledger processes."""

    def __init__(self, bus: Bus, folder: Path, nats_url: str, redis_url: str) -> None:
        self.folder = folder
        self.bus = bus
        self.experiment = f"killed-{uuid.uuid4().hex[:10]}"
        self.trainer = Trainer(bus, self.experiment)
        self.client = Client(bus, self.experiment)
        self.environment = {
            "WL_NATS_URL": nats_url,
            "WL_REDIS_URL": redis_url,
            "WL_DATA_DIR": str(folder / "data"),
            "WL_SNAPSHOT_INTERVAL_SECS": "0.2",
        }
        self.ledgers: list[Process] = []

    def start_ledger(self) -> Process:
        command = [sys.executable, "-m", "weightslab_ledger"]
        log = self.folder / f"ledger-{len(self.ledgers)}.log"
        ledger = Process(command, log=log, environment=self.environment)
        ledger.start()
        self.ledgers.append(ledger)
        return ledger

    async def register(self) -> None:
        await self.trainer.register("train", UIDS, registration_id="r")
        await self.client.until("list_columns", ListColumnsRequest(), ListColumnsResponse, lambda it: bool(it.splits))

    async def owner(self) -> str:
        answer = await self.client.until(
            "health", LedgerHealthRequest(), LedgerHealthResponse, lambda it: it.store_connected
        )
        return answer.ledger_id

    async def edit(self, operation: EditOperation, *uids: str) -> int:
        request = edit_request(operation, samples("train", *uids))
        return (await self.client.ask("edit_samples", request, EditSamplesResponse)).edit.revision


@pytest.fixture
async def bench(nats_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Bench]:
    bus = await Bus.connect(nats_url, name="test")
    await forget_others(bus, redis_url)
    bench = Bench(bus, tmp_path, nats_url, redis_url)
    yield bench
    for ledger in bench.ledgers:
        ledger.kill()
    await bus.close()


async def test_killed_at_any_time_it_loses_and_doubles_nothing(bench: Bench) -> None:
    """Values and points keep coming while the ledger is killed again and again."""
    ledger = bench.start_ledger()
    await bench.register()
    expected = np.zeros(len(UIDS))
    counts = np.zeros(len(UIDS))
    live: asyncio.Queue[LiveUpdate] = asyncio.Queue()

    async def heard(message: object) -> None:
        live.put_nowait(LiveUpdate().parse(message.data))  # type: ignore[attr-defined]

    await bench.bus.client.subscribe(subjects.subject(bench.experiment, subjects.LIVE), cb=heard)
    steps = itertools.count()
    randomness = np.random.default_rng(7)
    for round_number in range(4):
        for _ in range(25):
            step = next(steps)
            rows = randomness.integers(0, len(UIDS), 16)
            values = randomness.random(16).astype(np.float32)
            np.add.at(expected, rows, values.astype(np.float64))
            np.add.at(counts, rows, 1)
            await bench.trainer.values("train", "r", rows, {"train/loss": values}, step=step)
            await bench.trainer.points("train/loss", [step], [float(step)])
        revision = await bench.edit(EditOperation.DISCARD, UIDS[round_number])
        os.kill(ledger.pid, signal.SIGKILL)
        ledger.kill()
        ledger = bench.start_ledger()
        edits = await bench.client.until("list_edits", ListEditsRequest(), ListEditsResponse, lambda it: True)
        assert edits.revision == revision == round_number + 1
    await bench.client.until("query_samples", ANY, QuerySamplesResponse, lambda it: it.value_version == 1600)
    page = await bench.client.ask("query_samples", PAGE, QuerySamplesResponse)
    columns = {column.name: unpack(column.numbers, F64) for column in page.columns}
    assert columns["train/loss.count"].tolist() == counts.tolist()
    assert columns["train/loss.mean"] == pytest.approx(expected / counts)
    curves = await bench.client.until(
        "get_curves", GetCurvesRequest(), GetCurvesResponse, lambda it: it.curves[0].point_count >= 100
    )
    stored = unpack(curves.curves[0].steps, I64)
    assert sorted(stored.tolist()) == list(range(100))
    # What viewers were told stands under the same ordinals after every restart.
    told = 0
    while not live.empty():
        for delta in live.get_nowait().curves:
            carried = unpack(delta.steps, I64)
            assert stored[delta.first_ordinal : delta.first_ordinal + len(carried)].tolist() == carried.tolist()
            told += len(carried)
    assert told


async def test_another_ledger_takes_over_from_a_killed_one(bench: Bench) -> None:
    bench.start_ledger()
    await bench.register()
    await bench.edit(EditOperation.DISCARD, "u1", "u2")
    second = bench.start_ledger()
    first_owner = await bench.owner()
    wait_until(lambda: "is ready" in second.output(), what="the second ledger is ready")
    bench.ledgers[0].kill()
    answer = await bench.client.until(
        "discards",
        GetDiscardsRequest(split="train", registration_id="r"),
        GetDiscardsResponse,
        lambda it: it.revision == 1,
    )
    assert answer.discarded[0] == 0b01100000
    assert await bench.owner() != first_owner


async def test_a_stale_owner_can_change_nothing(bench: Bench) -> None:
    """The owner is stopped until its lease has run out, and goes on after another has taken over."""
    bench.start_ledger()
    await bench.register()
    first_owner = await bench.owner()
    os.kill(bench.ledgers[0].pid, signal.SIGSTOP)
    bench.start_ledger()
    await bench.client.until("health", LedgerHealthRequest(), LedgerHealthResponse, lambda it: it.store_connected)
    assert await bench.edit(EditOperation.DISCARD, "u1") == 1
    os.kill(bench.ledgers[0].pid, signal.SIGCONT)
    wait_until(lambda: "another ledger" in bench.ledgers[0].output(), what="the stale owner notices")
    assert await bench.edit(EditOperation.DISCARD, "u2") == 2
    assert await bench.owner() != first_owner
    edits = await bench.client.ask("list_edits", ListEditsRequest(), ListEditsResponse)
    assert [edit.revision for edit in edits.edits] == [1, 2]


async def test_without_its_store_it_says_so_and_recovers(nats_url: str, tmp_path: Path) -> None:
    port = embedded.free_port()
    store = Process(embedded.store_command(tmp_path / "store", port=port), log=tmp_path / "store.log")
    store.start()
    wait_until(lambda: accepts(port), what="the store listens")
    bus = await Bus.connect(nats_url, name="test")
    await forget_others(bus, f"redis://127.0.0.1:{port}")
    bench = Bench(bus, tmp_path, nats_url, f"redis://127.0.0.1:{port}")
    try:
        bench.start_ledger()
        await bench.register()
        assert await bench.edit(EditOperation.DISCARD, "u1") == 1
        store.kill()
        with pytest.raises(Unavailable, match=f"the store \\(Redis at 127.0.0.1:{port}\\) does not answer"):
            await bench.edit(EditOperation.DISCARD, "u2")
        await bench.trainer.values("train", "r", [0], {"train/loss": [1.0]})
        store.start()
        wait_until(lambda: accepts(port), what="the store listens again")
        page = await bench.client.until(
            "query_samples", ANY, QuerySamplesResponse, lambda it: it.value_version == 1 and it.active == 49
        )
        assert page.revision == 1
        assert await bench.edit(EditOperation.DISCARD, "u2") == 2
    finally:
        for ledger in bench.ledgers:
            ledger.kill()
        store.kill()
        await bus.close()
