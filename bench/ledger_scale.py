"""What the ledger's work costs, and how it grows with the number of samples.

Runs the ledger's parts in this process against a real store, and does the same by SQLite with an index per column:
`python bench/ledger_scale.py [rows …]`. Beyond a million samples there is no SQLite, no restart, and no reading while
values come.
Results and a plot are written beside the script; of sizes that are not measured anew the former results stay.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import numpy as np
from betterproto import encode_varint
from weightslab_common import embedded, subjects
from weightslab_common.columns import F32, F64, I64, U32, pack
from weightslab_ledger.catalog import Catalog
from weightslab_ledger.catalog_store import CatalogStore
from weightslab_ledger.chunks import selection, selection_of
from weightslab_ledger.curves import Curve, Key, Points, Wanted
from weightslab_ledger.edit_store import EditStore
from weightslab_ledger.edits import EditState, Mask, Order
from weightslab_ledger.facets import count_values, default_facets
from weightslab_ledger.frame import Frame, frame_of
from weightslab_ledger.histogram import histogram
from weightslab_ledger.ingest import Ingest, Message
from weightslab_ledger.query import evaluate
from weightslab_ledger.reduction import reduce_points
from weightslab_ledger.slices import bucket_size, slice_curves
from weightslab_ledger.store import Store
from weightslab_ledger.trajectories import trajectories
from weightslab_ledger.views import Views, Wish
from weightslab_proto.weightslab.bus.v1 import (
    MetadataColumn,
    SampleValueBatch,
    SampleValueColumn,
    SplitRegistration,
)
from weightslab_proto.weightslab.v1 import EditOperation, Mode

sys.path.insert(0, str(Path(__file__).parents[1]))
from bench.ledger_plot import plot
from tests.support.processes import Process, accepts, wait_until

# Up to here everything is measured.
FULL_ROWS = 1_000_000
PART = 20_000
BATCH = 40_000
RESULTS = Path(__file__).with_suffix(".json")


def milliseconds(work: Callable[[], object], rounds: int = 15) -> dict[str, float]:
    """Median and 99th percentile of `rounds` calls."""
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        taken.append((time.perf_counter() - began) * 1000)
    return {"p50_ms": round(float(np.median(taken)), 3), "p99_ms": round(float(np.percentile(taken, 99)), 3)}


def registrations(row_count: int) -> Iterator[bytes]:
    """A split with a number and a text for each sample, in parts."""
    for first in range(0, row_count, PART):
        count = min(PART, row_count - first)
        part = SplitRegistration(
            registration_id="bench",
            split="train",
            sample_count=row_count,
            first_position=first,
            metadata=[MetadataColumn(name="target", numbers=pack(np.arange(first, first + count) % 10, F64))],
            complete=first + count == row_count,
        )
        uids = _texts(_UIDS, [str(uid) for uid in range(first, first + count)])
        camera = bytes(MetadataColumn(name="camera")) + _texts(
            _TEXTS, [f"camera {uid % 7}" for uid in range(first, first + count)]
        )
        yield bytes(part) + uids + _field(_METADATA, camera)


# Numbers of fields in proto/: the generated code takes longer for repeated texts than the ledger for all of its work.
_UIDS, _METADATA, _TEXTS = 5, 6, 3


def _field(number: int, content: bytes) -> bytes:
    """A field as it stands in a message; what stands behind the others of its number comes after them."""
    return encode_varint(number << 3 | 2) + encode_varint(len(content)) + content


def _texts(number: int, texts: list[str]) -> bytes:
    """A repeated field of short texts."""
    key = encode_varint(number << 3 | 2)
    return b"".join(key + bytes([len(text)]) + text.encode() for text in texts)


def value_messages(row_count: int, value_count: int) -> list[bytes]:
    """Batches of two signals in the order of a shuffled epoch."""
    randomness = np.random.default_rng(3)
    messages = []
    order = randomness.permutation(row_count)
    per_message = min(BATCH, row_count)
    for sequence in range(value_count // (2 * per_message)):
        positions = np.resize(np.roll(order, -sequence * per_message), per_message)
        loss, confidence = randomness.exponential(size=per_message), randomness.random(per_message)
        columns = [("train/loss", loss), ("train/confidence", confidence)]
        batch = SampleValueBatch(
            run_id="bench",
            sequence=sequence + 1,
            branch="main",
            mode=Mode.TRAIN,
            split="train",
            registration_id="bench",
            positions=pack(positions, U32),
            steps=pack(np.arange(per_message) // 64 + sequence * 1000, I64),
            epochs=pack(np.full(per_message, sequence * per_message // row_count), U32),
            columns=[SampleValueColumn(signal=name, values=pack(values, F32)) for name, values in columns],
        )
        messages.append(bytes(batch))
    return messages


def machine() -> dict[str, object]:
    """How busy this machine is, and when."""
    return {"load": round(os.getloadavg()[0], 1), "date": str(date.today())}


async def measure_registration(ingest: Ingest, row_count: int) -> dict[str, object]:
    """Seconds, and the most memory that was in use meanwhile beyond what was in use before."""
    before = forget_peak()
    took = 0.0
    for number, content in enumerate(registrations(row_count)):
        began = time.perf_counter()
        await ingest.take([Message(subjects.SAMPLES, content, number + 1)])
        took += time.perf_counter() - began
    return {
        "register, s": round(took, 2),
        "memory of registration, peak bytes/sample": round((status_bytes("VmHWM") - before) / row_count),
    }


def forget_peak() -> int:
    """Make Linux forget the most memory this process has used; return what it uses now."""
    Path("/proc/self/clear_refs").write_text("5")
    return status_bytes("VmRSS")


def status_bytes(name: str) -> int:
    """A size out of Linux's account of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ":"))


async def measure_edits(store: Store, experiment: str, row_count: int, *, turns: int = 10) -> dict[str, object]:
    """Discards of 1 to a million samples, each acknowledged by the store's disk."""
    state, log = EditState(), EditStore(store, experiment)
    randomness = np.random.default_rng(5)
    found: dict[str, object] = {}
    for count in (1, 10_000, 100_000, 1_000_000):
        if count > row_count:
            continue
        taken = []
        for turn in range(turns):
            rows = np.sort(randomness.choice(row_count, count, replace=False)).astype(np.uint32)
            operation = EditOperation.RESTORE if turn % 2 else EditOperation.DISCARD
            began = time.perf_counter()
            entry = state.plan(Order(f"{count}-{turn}", "bench", operation, "", rows, 0))
            verdict = await log.append(entry, state, token=0, row_count=row_count)
            state.apply(entry)
            taken.append((time.perf_counter() - began) * 1000)
            assert verdict.word == "OK"
        found[f"edit {count:,}, on disk"] = {"p50_ms": round(float(np.median(taken)), 2)}
    return found


def measure_reads(frame: Frame) -> dict[str, object]:
    """Queries as a page asks them; each first page is of a view that is not cached."""
    deep = Views(1 << 30).get(frame, Wish("", (("train/loss", True),)), "")
    deep.page(frame.row_count // 2, 64)
    filtered = Wish('loss > 0.5 and camera == "camera 3" and not discarded', (("train/loss", True),))
    return {
        "sort + first page": milliseconds(
            lambda: Views(1 << 30).get(frame, Wish("", (("train/loss", True),)), "").page(0, 64)
        ),
        "filter + sort + first page": milliseconds(lambda: Views(1 << 30).get(frame, filtered, "").page(0, 64)),
        "deep page of a held view": milliseconds(lambda: deep.page(frame.row_count // 2, 64)),
        "histogram, 512 bins": milliseconds(lambda: histogram(frame.column("train/loss"), evaluate("", frame), 512)),
    }


async def while_ingesting(ingest: Ingest, messages: list[bytes], position: int) -> dict[str, object]:
    """Filter, sort and first page again and again while messages are taken in."""
    filtered = Wish('loss > 0.5 and camera == "camera 3" and not discarded', (("train/loss", True),))
    done = asyncio.Event()
    taken: list[float] = []

    def page() -> None:
        frame = frame_of(ingest.catalog, ingest.snapshot.columns, EditState())
        Views(1 << 30).get(frame, filtered, "").page(0, 64)

    async def read() -> None:
        while not done.is_set() or len(taken) < 5:
            began = time.perf_counter()
            await asyncio.to_thread(page)
            taken.append((time.perf_counter() - began) * 1000)
            # A page is asked for by a person, not in a tight loop.
            await asyncio.sleep(0.01)

    reading = asyncio.create_task(read())
    for number, content in enumerate(messages):
        await ingest.take([Message(subjects.VALUES, content, position + number)])
    done.set()
    await reading
    found = {"p50_ms": round(float(np.median(taken)), 3), "p99_ms": round(float(np.percentile(taken, 99)), 3)}
    return {"filter + sort + first page, while ingesting": found}


def measure_history(ingest: Ingest, row_count: int) -> dict[str, object]:
    """Slices of many and of few samples over all kept steps, trajectories and facets."""
    frame = frame_of(ingest.catalog, ingest.snapshot.columns, EditState())
    key = Key("train/loss", "main", int(Mode.TRAIN))
    span = ingest.values.step_range(key) or (0, 0)
    masks = [evaluate(f'camera == "camera {number}"', frame) for number in range(3)]
    few = [evaluate(f"row >= {number} and row < {number + 33}", frame) for number in (0, 100, 200)]
    rows = np.arange(min(100, row_count), dtype=np.uint32)

    def slices(masks: list[Mask]) -> None:
        wanted = selection(np.logical_or.reduce(masks))
        seen = ingest.values.scan(key, first_step=span[0], last_step=span[1], wanted=wanted)
        slice_curves(seen, masks, first_step=span[0], last_step=span[1], bucket_steps=bucket_size(*span))

    def facets() -> None:
        for name in default_facets(frame):
            count_values(frame.column(name), frame.present)

    return {
        "slices, 3 of a seventh of the samples": milliseconds(lambda: slices(masks), rounds=5),
        "slices, 3 of 33 samples": milliseconds(lambda: slices(few), rounds=5),
        "trajectories, 100 samples": milliseconds(
            lambda: trajectories([("main", ingest.values.scan(key, wanted=selection_of(rows)))], rows, by_epoch=True),
            rounds=5,
        ),
        "facets, 3 columns": milliseconds(facets, rounds=5),
    }


def bytes_per_value(ingest: Ingest, folder: Path, row_count: int) -> dict[str, object]:
    """Memory of the columns and disk of everything, per value and per sample."""
    columns = ingest.snapshot.columns.columns.values()
    memory = sum(array.nbytes for column in columns for array in column.fields.values())
    disk: dict[str, int] = {}
    for path in folder.rglob("*"):
        if path.is_file():
            kind = path.name.split("-")[0]
            disk[kind] = disk.get(kind, 0) + path.stat().st_blocks * 512
    values = max(1, ingest.counts.values)
    return {
        "values": values,
        "memory of columns, bytes/value": round(memory / values, 2),
        "memory of columns, bytes/sample of each signal": round(memory / row_count / max(1, len(columns)), 1),
        "disk, bytes/value": {kind: round(size / values, 2) for kind, size in sorted(disk.items())},
    }


def measure_sqlite(row_count: int, folder: Path) -> dict[str, object]:
    """The same table in SQLite, with indices on what is filtered and sorted by."""
    randomness = np.random.default_rng(3)
    loss = randomness.exponential(size=row_count).tolist()
    table = sqlite3.connect(folder / f"compared-{row_count}.db")
    table.execute("pragma journal_mode=wal")
    table.execute("pragma synchronous=full")
    table.execute("create table samples (id integer primary key, uid text, camera text, loss real, discarded integer)")
    began = time.perf_counter()
    table.executemany(
        "insert into samples values (?, ?, ?, ?, 0)",
        ((row, str(row), f"camera {row % 7}", value) for row, value in enumerate(loss)),
    )
    for column in ("camera", "loss", "discarded"):
        table.execute(f"create index by_{column} on samples ({column})")
    table.commit()
    registered = time.perf_counter() - began
    where = "where loss > 0.5 and camera = 'camera 3' and discarded = 0"

    def discard() -> None:
        chosen = randomness.choice(row_count, min(10_000, row_count), replace=False).tolist()
        table.executemany("update samples set discarded = 1 - discarded where id = ?", ((row,) for row in chosen))
        table.commit()

    def page(offset: int, condition: str) -> object:
        query = f"select id from samples {condition} order by loss desc, id limit 64 offset {offset}"
        return table.execute(query).fetchall()

    def matched() -> object:
        return page(0, where), table.execute(f"select count(*) from samples {where}").fetchone()

    low, width = min(loss), (max(loss) - min(loss)) / 512
    bins = "select cast((loss - ?) / ? as integer), count(*) from samples group by 1"
    found = {
        "register, s": round(registered, 2),
        "filter + sort + first page": milliseconds(matched, rounds=5),
        "deep page of a held view": milliseconds(lambda: page(row_count // 2, ""), rounds=5),
        "histogram, 512 bins": milliseconds(lambda: table.execute(bins, (low, width)).fetchall(), rounds=5),
        "edit 10,000, on disk": milliseconds(discard, rounds=3),
    }
    table.close()
    return found


async def measure(row_count: int, store: Store, folder: Path) -> dict[str, object]:
    experiment = f"bench-{row_count}"
    catalog = Catalog()
    ingest = Ingest(
        catalog=catalog,
        catalog_store=CatalogStore(store, experiment),
        folder=folder / experiment,
        token=0,
        values_bytes=1 << 30,
    )
    ingest.load()
    part_count = -(-row_count // PART)
    found: dict[str, object] = {"machine": machine()}
    found.update(await measure_registration(ingest, row_count))
    value_count = min(max(2 * row_count, 2_000_000), 10_000_000)
    messages = value_messages(row_count, 2 * value_count if row_count <= FULL_ROWS else value_count)
    half = len(messages) // 2 if row_count <= FULL_ROWS else len(messages)
    began, worked = time.perf_counter(), time.process_time()
    for number, content in enumerate(messages[:half]):
        await ingest.take([Message(subjects.VALUES, content, part_count + number + 1)])
    await ingest.save()
    found["ingest, values/s"] = round(ingest.counts.values / (time.perf_counter() - began))
    # However busy others keep the processors.
    found["ingest, values/s of processor time"] = round(ingest.counts.values / (time.process_time() - worked))
    found.update(measure_reads(frame_of(catalog, ingest.snapshot.columns, EditState())))
    if row_count > FULL_ROWS:
        found.update(measure_history(ingest, row_count))
        found.update(bytes_per_value(ingest, folder / experiment, row_count))
        ingest.close()
        found.update(await measure_edits(store, experiment, row_count, turns=4))
        return found
    found.update(await while_ingesting(ingest, messages[half:], part_count + half + 1))
    await ingest.save()
    found.update(measure_history(ingest, row_count))
    found.update(bytes_per_value(ingest, folder / experiment, row_count))
    ingest.close()
    found.update(await measure_edits(store, experiment, row_count))
    found["restart, s"] = round(await restart_secs(store, experiment, folder), 2)
    found["sqlite"] = measure_sqlite(row_count, folder)
    return found


async def restart_secs(store: Store, experiment: str, folder: Path) -> float:
    """Until the first page can be asked for."""
    began = time.perf_counter()
    again = Ingest(
        catalog=Catalog(),
        catalog_store=CatalogStore(store, experiment),
        folder=folder / experiment,
        token=1,
        values_bytes=1 << 30,
    )
    async for part in CatalogStore(store, experiment).load():
        again.catalog.apply(part)
    again.load()
    took = time.perf_counter() - began
    again.close()
    return took


def measure_curve() -> dict[str, object]:
    """A million raw points reduced to 2,000."""
    randomness = np.random.default_rng(1)
    curve = Curve(Key("train/loss", "main", 1))
    steps = np.arange(1_000_000)
    curve.append(Points(curve.key, steps, randomness.random(1_000_000), np.full(1_000_000, np.nan)))
    every = curve.values

    def export() -> None:
        for first in range(0, curve.count, 20_000):
            chosen = curve.choose(Wanted(first_ordinal=first, budget=20_000, raw=True)).reduced.ordinals
            pack(curve.steps[chosen], I64) + pack(curve.values[chosen], F64)

    return {
        "curve 1M to 2,000": milliseconds(lambda: curve.choose(Wanted()), rounds=50),
        "curve 1M to 2,000 without the pyramid": milliseconds(lambda: reduce_points(every, 2000), rounds=50),
        "export of 1M points": milliseconds(export, rounds=5),
    }


async def measure_all(sizes: list[int], folder: Path, port: int) -> dict[str, object]:
    store = Store(f"redis://127.0.0.1:{port}")
    results: dict[str, object] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if FULL_ROWS in sizes:
        results["curve"] = {"machine": machine(), **measure_curve()}
    for size in sizes:
        results[f"{size:,} samples"] = await measure(size, store, folder)
    await store.close()
    return results


def main(sizes: list[int]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), embedded.free_port()
        server = Process(embedded.store_command(folder / "store", port=port), log=folder / "store.log")
        server.start()
        try:
            wait_until(lambda: accepts(port), what="the store listens")
            results = asyncio.run(measure_all(sizes, folder, port))
        finally:
            server.stop()
    results["where"] = f"{platform.machine()}, Python {platform.python_version()}"
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    plot(results, RESULTS.with_suffix(".png"))
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]] or [10_000, 100_000, 1_000_000])
