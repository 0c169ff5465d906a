"""How soon a ledger answers again: after a restart with a great deal to load, and after its owner was killed.

Real processes on a real bus and store: `python bench/ledger_restart.py [samples]`.
Pages are asked for on the bus and through a gateway by turns, each with a filter that was not asked for before.
Restart: a million samples with two columns of metadata, 64 tags, 32 signals of every sample in the snapshot, and ten
million values in the stream that came after it. Take-over: two ledgers, the owner is killed, five times.
Results are written beside the script.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import replace
from datetime import date
from pathlib import Path

import httpx
import numpy as np
from grpclib.client import Channel
from weightslab_common import embedded, subjects
from weightslab_common.bus import Bus
from weightslab_common.columns import F32, I64, U32, pack
from weightslab_ledger.catalog import Catalog
from weightslab_ledger.catalog_store import CatalogStore
from weightslab_ledger.columns import Batch
from weightslab_ledger.edit_store import EditStore
from weightslab_ledger.edits import EditState, Order
from weightslab_ledger.ingest import Ingest, Message
from weightslab_ledger.store import EXPERIMENTS, Store
from weightslab_proto.weightslab.bus.v1 import (
    LedgerHealthRequest,
    LedgerHealthResponse,
    SampleValueBatch,
    SampleValueColumn,
)
from weightslab_proto.weightslab.v1 import (
    EditOperation,
    Mode,
    QuerySamplesRequest,
    QuerySamplesResponse,
    SortKey,
)

sys.path.insert(0, str(Path(__file__).parents[1]))
from bench.ledger_scale import registrations
from tests.support.processes import Process, accepts, wait_until
from tests.support.studio import Api
from tests.unit.ledger.trainers import Client

TAGS, SIGNALS, TAIL_VALUES, KILLS, PAGES = 64, 32, 10_000_000, 5, 40
# Pages: what they are called, the columns that are asked for (none: all), and the least value that the filter lets in.
CELL_COLUMNS = ["train/loss0", "train/loss1"]
KINDS = [
    ("page of an eighth", CELL_COLUMNS, 0.85),
    ("page of most", CELL_COLUMNS, 0.0),
    (f"page of most, {SIGNALS} columns", list[str](), 0.0),
]
TOKEN = "token-of-the-bench"
PER_MESSAGE = 20_000
RESULTS = Path(__file__).with_suffix(".json")
PAGE = QuerySamplesRequest(
    filter="loss0 > 0.5 and not discarded", sort=[SortKey(column="train/loss0", descending=True)], limit=64
)


async def prepare(store: Store, folder: Path, experiment: str, row_count: int) -> None:
    """Write catalog and tags to the store and the snapshot to the disk, as a ledger that ran before would have."""
    catalog = Catalog()
    ingest = Ingest(
        catalog=catalog,
        catalog_store=CatalogStore(store, experiment),
        folder=folder / "ledger" / experiment,
        token=0,
        values_bytes=1 << 30,
    )
    ingest.load()
    for content in registrations(row_count):
        await ingest.take([Message(subjects.SAMPLES, content, 0)])
    randomness = np.random.default_rng(1)
    rows = randomness.permutation(row_count).astype(np.uint32)
    batch = Batch(rows, np.arange(row_count), np.zeros(row_count, dtype=np.uint32), row_count)
    for number in range(SIGNALS):
        ingest.snapshot.columns.update(f"train/loss{number}", batch, randomness.random(row_count, dtype=np.float32))
    await ingest.save()
    ingest.close()
    state, log = EditState(), EditStore(store, experiment)
    for number in range(TAGS):
        chosen = np.sort(randomness.choice(row_count, row_count // 20, replace=False)).astype(np.uint32)
        entry = state.plan(Order(f"tag-{number}", "bench", EditOperation.ADD_TAG, f"tag {number}", chosen, 0))
        assert (await log.append(entry, state, token=0, row_count=row_count)).word == "OK"
        state.apply(entry)
    await store.client.sadd(EXPERIMENTS, experiment)


async def publish_tail(bus: Bus, experiment: str, row_count: int) -> int:
    """Values of two signals that no snapshot holds; returns how many."""
    randomness = np.random.default_rng(2)
    count = min(PER_MESSAGE, row_count)
    for sequence in range(TAIL_VALUES // (2 * count)):
        values = [randomness.random(count, dtype=np.float32) for _ in range(2)]
        message = SampleValueBatch(
            run_id="bench",
            sequence=sequence + 1,
            branch="main",
            mode=Mode.TRAIN,
            split="train",
            registration_id="bench",
            positions=pack(randomness.choice(row_count, count, replace=False), U32),
            steps=pack(np.arange(count) // 64 + sequence * 1000, I64),
            epochs=pack(np.full(count, 1), U32),
            columns=[SampleValueColumn(signal=f"train/loss{n}", values=pack(v, F32)) for n, v in enumerate(values)],
        )
        subject = subjects.subject(experiment, subjects.VALUES)
        await bus.store(subject, bytes(message), message_id=f"{experiment}-{sequence}", timeout_secs=60)
    return TAIL_VALUES // (2 * count) * 2 * count


class Ledgers:
    """Ledger processes on one data folder."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder = folder
        self._environment = environment
        self._started: list[Process] = []

    def start(self) -> Process:
        log = self._folder / f"ledger-{len(self._started)}.log"
        ledger = Process([sys.executable, "-m", "weightslab_ledger"], log=log, environment=self._environment)
        ledger.start()
        self._started.append(ledger)
        return ledger

    def end(self) -> None:
        for ledger in self._started:
            ledger.kill()


async def first_page(client: Client) -> tuple[float, QuerySamplesResponse]:
    """Seconds until a filtered, sorted page is there."""
    began = time.perf_counter()
    page = await client.until("query_samples", PAGE, QuerySamplesResponse, lambda page: True)
    return time.perf_counter() - began, page


def memory_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def cpu_secs(pid: int) -> float:
    """What a process has used of the processors, however busy others keep them."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure_restart(
    client: Client, ledgers: Ledgers, environment: dict[str, str], *, known: int, tail: int
) -> dict[str, object]:
    ledger = ledgers.start()
    took, page = await first_page(client)
    cpu = cpu_secs(ledger.pid)
    assert len(page.uids) == 64
    pages = []
    began = time.perf_counter()
    while page.value_version < known + tail:
        asked = time.perf_counter()
        page = await client.ask("query_samples", PAGE, QuerySamplesResponse)
        pages.append((time.perf_counter() - asked) * 1000)
        await asyncio.sleep(0.02)
    caught_up = time.perf_counter() - began
    found = {
        "first page, s": round(took, 2),
        "processor time of the ledger until then, s": round(cpu, 2),
        "tail taken in after, s": round(caught_up, 2),
        "pages meanwhile": {
            "p50_ms": round(float(np.median(pages)), 1),
            "p99_ms": round(float(np.percentile(pages, 99)), 1),
        },
        "memory of the process, GiB": round(memory_bytes(ledger.pid) / 1024**3, 2),
    }
    found |= await measure_gateway(client, environment)
    ledger.stop()
    return found


async def measure_gateway(client: Client, environment: dict[str, str]) -> dict[str, object]:
    """The same pages of the ledger itself and through a gateway, by turns, each with a filter of its own.

    Of an eighth of the samples or of most of them, with the columns that cells show or with all.
    """
    ports = {name: str(embedded.free_port()) for name in ("GRPC_BACKEND_PORT", "ENVOY_PORT", "ENVOY_ADMIN_PORT")}
    log = Path(environment["WL_DATA_DIR"]) / "gateway.log"
    gateway = Process(
        [sys.executable, "-m", "weightslab_gateway"], log=log, environment={**environment, **ports, "WL_TOKEN": TOKEN}
    )
    gateway.start()
    try:
        ready = f"http://127.0.0.1:{ports['ENVOY_ADMIN_PORT']}/readyz"
        wait_until(
            lambda: accepts(int(ports["ENVOY_ADMIN_PORT"])) and httpx.get(ready).is_success, what="the gateway is ready"
        )
        with contextlib.closing(Channel("127.0.0.1", int(ports["GRPC_BACKEND_PORT"]))) as channel:
            api = Api(channel, TOKEN)
            taken: dict[str, list[float]] = defaultdict(list)
            for number in range(2 * len(KINDS) * PAGES):
                what, shown, least = KINDS[number // 2 % len(KINDS)]
                # Another one each time: no view is there already.
                filter = f"loss0 > {least + number / 10_000} and loss1 < 0.9"
                request = replace(PAGE, experiment=client.experiment, filter=filter, columns=shown)
                way = "gateway" if number % 2 else "ledger"
                began = time.perf_counter()
                if way == "gateway":
                    await api.samples.query_samples(request)
                else:
                    await client.ask("query_samples", request, QuerySamplesResponse)
                taken[f"{what} of the {way}"].append((time.perf_counter() - began) * 1000)
    finally:
        gateway.stop()
    return {
        what: {f"p{q}_ms": round(float(np.percentile(times, q)), 1) for q in (10, 50, 99)}
        for what, times in taken.items()
    }


async def measure_takeover(client: Client, ledgers: Ledgers) -> dict[str, object]:
    taken = []
    owner = ledgers.start()
    await first_page(client)
    for _ in range(KILLS):
        other = ledgers.start()
        wait_until(lambda other=other: "is ready" in other.output(), what="the other ledger waits")  # type: ignore[misc]
        before = await client.ask("health", LedgerHealthRequest(), LedgerHealthResponse)
        os.kill(owner.pid, signal.SIGKILL)
        took, _ = await first_page(client)
        after = await client.ask("health", LedgerHealthRequest(), LedgerHealthResponse)
        assert after.ledger_id != before.ledger_id
        taken.append(round(took, 2))
        owner.kill()
        owner = other
    return {"median, s": float(np.median(taken)), "all, s": taken}


async def run(row_count: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bus_port, store_port = embedded.free_port(), embedded.free_port()
        servers = [
            Process(embedded.nats_command(folder / "bus", port=bus_port), log=folder / "bus.log"),
            Process(embedded.store_command(folder / "store", port=store_port), log=folder / "store.log"),
        ]
        urls = {"WL_NATS_URL": f"nats://127.0.0.1:{bus_port}", "WL_REDIS_URL": f"redis://127.0.0.1:{store_port}"}
        environment = {**urls, "WL_DATA_DIR": str(folder / "data")}
        ledgers, few = Ledgers(folder, environment), Ledgers(folder / "few", environment)
        (folder / "few").mkdir()
        try:
            for server in servers:
                server.start()
            wait_until(lambda: accepts(bus_port) and accepts(store_port), what="the servers listen")
            bus = await Bus.connect(urls["WL_NATS_URL"], name="bench")
            await bus.ensure_streams()
            store = Store(urls["WL_REDIS_URL"])
            await prepare(store, folder / "data", "small", 10_000)
            takeover = await measure_takeover(Client(bus, "small"), few)
            few.end()
            await store.client.delete(EXPERIMENTS)
            await prepare(store, folder / "data", "large", row_count)
            tail = await publish_tail(bus, "large", row_count)
            large = Client(bus, "large")
            restart = await measure_restart(large, ledgers, environment, known=SIGNALS * row_count, tail=tail)
            await store.close()
            await bus.close()
        finally:
            ledgers.end()
            few.end()
            for server in servers:
                server.kill()
    return {
        f"restart: {row_count:,} samples, {TAGS} tags, {SIGNALS} signals, {tail:,} values in the tail": restart,
        f"take-over of a killed owner, 10,000 samples, {KILLS} times": takeover,
    }


def main() -> None:
    results = asyncio.run(run(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000))
    results["where"] = (
        f"Python {sys.version.split()[0]}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {date.today()}"
    )
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
