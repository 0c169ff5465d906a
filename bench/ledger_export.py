"""How long a million raw points take from the ledger's memory to whoever exports them, end to end.

Run: python bench/ledger_export.py   writes ledger_export.json beside itself.

Bus, store, ledger and gateway are processes. The stream is read by a gRPC client through the gateway; the command
`weightslab export` writes files, its own start included. For comparison SQLite writes the same points as CSV.
"""

from __future__ import annotations

import asyncio
import csv
import json
import os
import platform
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from datetime import date
from pathlib import Path

import numpy as np
from weightslab_common import subjects
from weightslab_common.bus import Bus
from weightslab_common.columns import F64, I64, pack
from weightslab_proto.weightslab.bus.v1 import SignalBatch, SignalColumn
from weightslab_proto.weightslab.v1 import (
    CurveKey,
    ExportPointsRequest,
    ListSignalsRequest,
    ListSignalsResponse,
    Mode,
)

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.support.processes import wait_until
from tests.support.studio import Studio
from tests.unit.ledger.trainers import Client, registration

EXPERIMENT = "export"
POINTS, PER_MESSAGE, ROUNDS = 1_000_000, 20_000, 3
KEY = CurveKey(branch="main", signal="train/loss", mode=Mode.TRAIN)
RESULTS = Path(__file__).with_suffix(".json")


def points() -> tuple[np.ndarray, np.ndarray]:
    """Steps and values."""
    return np.arange(POINTS), np.random.default_rng(1).random(POINTS)


async def publish(nats_url: str) -> None:
    """Publish the points, and wait until the ledger has them all."""
    bus = await Bus.connect(nats_url, name="bench")
    await bus.ensure_streams()
    samples = registration("train", ["0"], run_id="bench", sequence=0)
    await bus.store(subjects.subject(EXPERIMENT, subjects.SAMPLES), bytes(samples), message_id=uuid.uuid4().hex)
    steps, values = points()
    for number, first in enumerate(range(0, POINTS, PER_MESSAGE)):
        part = slice(first, first + PER_MESSAGE)
        column = SignalColumn(signal=KEY.signal, steps=pack(steps[part], I64), values=pack(values[part], F64))
        batch = SignalBatch(run_id="bench", sequence=number + 1, branch="main", mode=Mode.TRAIN, columns=[column])
        subject = subjects.subject(EXPERIMENT, subjects.SIGNALS)
        await bus.store(subject, bytes(batch), message_id=uuid.uuid4().hex, timeout_secs=60)
    await Client(bus, EXPERIMENT).until(
        "list_signals",
        ListSignalsRequest(),
        ListSignalsResponse,
        lambda found: bool(found.curves) and found.curves[0].point_count == POINTS,
    )
    await bus.close()


async def stream_secs(studio: Studio) -> tuple[float, float]:
    """Seconds until the first chunk, and until the last."""
    async with studio.api() as api:
        began = time.perf_counter()
        first, count = 0.0, 0
        async for chunk in api.signals.export_points(ExportPointsRequest(experiment=EXPERIMENT, keys=[KEY])):
            first = first or time.perf_counter() - began
            count += len(chunk.steps) // 8
        assert count == POINTS
        return first, time.perf_counter() - began


def command_secs(studio: Studio, form: str) -> float:
    output = studio.folder / f"curves.{form}"
    command = [str(Path(sys.executable).with_name("weightslab")), "export", "curves", "-o", str(output)]
    began = time.perf_counter()
    subprocess.run([*command, "--experiment", EXPERIMENT], env=studio.environment, check=True, capture_output=True)
    return time.perf_counter() - began


def sqlite_secs(folder: Path) -> float:
    """The same points out of a table into CSV; to put them there is not counted."""
    steps, values = points()
    table = sqlite3.connect(folder / "compared.db")
    table.execute("create table points (step integer primary key, branch text, signal text, value real)")
    rows = ((step, "main", "train/loss", value) for step, value in zip(steps.tolist(), values.tolist(), strict=True))
    table.executemany("insert into points values (?, ?, ?, ?)", rows)
    table.commit()
    began = time.perf_counter()
    with (folder / "compared.csv").open("w", newline="") as file:
        csv.writer(file).writerows(table.execute("select branch, signal, step, value from points order by step"))
    return time.perf_counter() - began


def spread(taken: list[float]) -> dict[str, float]:
    return {name: round(float(of(taken)), 2) for name, of in (("median", np.median), ("min", min), ("max", max))}


def measure(folder: Path) -> dict[str, object]:
    studio = Studio(folder)
    names = ("nats", "store", "ledger", "gateway")
    try:
        for name in names:
            studio.start_one(name)
        wait_until(studio.ready, what="every part answers", timeout_secs=60)
        asyncio.run(publish(studio.environment["WL_NATS_URL"]))
        streams = [asyncio.run(stream_secs(studio)) for _ in range(ROUNDS)]
        found: dict[str, object] = {
            "stream through the gateway, first chunk, s": spread([first for first, _ in streams]),
            "stream through the gateway, all, s": spread([last for _, last in streams]),
        }
        for form in ("csv", "json", "parquet"):
            found[f"weightslab export to {form}, s"] = spread([command_secs(studio, form) for _ in range(ROUNDS)])
        found["SQLite to csv, s"] = spread([sqlite_secs(Path(tempfile.mkdtemp(dir=folder))) for _ in range(ROUNDS)])
    finally:
        for name in reversed(names):
            studio.processes[name].stop()
    return found


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        results = {
            "points": POINTS,
            "rounds": ROUNDS,
            **measure(Path(name)),
        }
    results["machine"] = {
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "date": str(date.today()),
    }
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
