"""A backup of a running deployment, loaded into an empty one: edits, curves, values and names are what they were."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from weightslab_common.bus import Bus
from weightslab_common.columns import F64, I64, unpack
from weightslab_common.embedded import free_ports, nats_command, store_command
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
from tests.unit.ledger.trainers import Client, Trainer, edit_request, samples

EXPERIMENT = "kept"
UIDS = [f"u{i}" for i in range(40)]
PAGE = QuerySamplesRequest(limit=50, columns=["train/loss", "train/loss.count"])


class Site:
    """A bus, a store and a ledger of their own."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        nats_port, store_port = free_ports(2)
        self.nats_url = f"nats://127.0.0.1:{nats_port}"
        self.environment = {
            "WL_NATS_URL": self.nats_url,
            "WL_REDIS_URL": f"redis://127.0.0.1:{store_port}",
            "WL_DATA_DIR": str(folder / "data"),
            "WL_SNAPSHOT_INTERVAL_SECS": "0.2",
        }
        commands = {
            "nats": nats_command(folder / "nats", port=nats_port),
            "store": store_command(folder / "store", port=store_port),
            "ledger": [sys.executable, "-m", "weightslab_ledger"],
        }
        self.processes = {
            name: Process(command, log=folder / f"{name}.log", environment=self.environment)
            for name, command in commands.items()
        }
        for name, port in (("nats", nats_port), ("store", store_port)):
            self.processes[name].start()
            wait_until(lambda port=port: accepts(port), what=f"{name} listens", timeout_secs=60)  # type: ignore[misc]

    def backup(self, action: str, folder: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "weightslab_ledger.backup", action, str(folder)]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=100)

    def stop(self) -> None:
        for process in self.processes.values():
            process.kill()


async def _held(client: Client, *, points: int) -> tuple[object, ...]:
    """What can be asked of an experiment."""
    curves = await client.until(
        "get_curves",
        GetCurvesRequest(),
        GetCurvesResponse,
        lambda it: bool(it.curves) and it.curves[0].point_count >= points,
    )
    await client.until(
        "list_columns",
        ListColumnsRequest(),
        ListColumnsResponse,
        lambda it: "train/loss" in {column.name for column in it.columns},
    )
    page = await client.until(
        "query_samples", PAGE, QuerySamplesResponse, lambda it: it.value_version >= len(UIDS) * points
    )
    edits = await client.ask("list_edits", ListEditsRequest(), ListEditsResponse)
    columns = {column.name: unpack(column.numbers, F64).tolist() for column in page.columns}
    return (
        unpack(curves.curves[0].steps, I64).tolist(),
        page.uids,
        columns,
        (page.total, page.active, page.revision),
        [(edit.revision, edit.edit_id, edit.changed_count) for edit in edits.edits],
    )


async def _work(bus: Bus, client: Client, *, points: int) -> None:
    trainer = Trainer(bus, EXPERIMENT)
    await trainer.register("train", UIDS, registration_id="r")
    for step in range(points):
        await trainer.points("train/loss", [step], [float(step)])
        await trainer.values("train", "r", range(len(UIDS)), {"train/loss": [step / 7] * len(UIDS)}, step=step)
    for number in range(5):
        request = edit_request(EditOperation.DISCARD, samples("train", UIDS[number]))
        await client.until("edit_samples", request, EditSamplesResponse, lambda it: bool(it.edit.revision))


def _damaged(backup: Path) -> Iterator[Path]:
    """Copies of a backup that are not as it was written."""
    for name in ("store.log", "WL_RUN.stream", "manifest.json"):
        copy = backup.with_name(f"without-{name}")
        shutil.copytree(backup, copy)
        if name == "manifest.json":
            (copy / name).unlink()
        else:
            content = bytearray((copy / name).read_bytes())
            content[len(content) // 2] ^= 1
            (copy / name).write_bytes(content)
        yield copy


async def test_a_backup_of_a_running_deployment_is_loaded_into_an_empty_one(tmp_path: Path) -> None:
    old, new = Site(tmp_path / "old"), Site(tmp_path / "new")
    try:
        old.processes["ledger"].start()
        bus = await Bus.connect(old.nats_url, name="test")
        client = Client(bus, EXPERIMENT)
        await bus.ensure_streams()
        await _work(bus, client, points=30)
        before = await _held(client, points=30)
        saved = await asyncio.to_thread(old.backup, "save", tmp_path / "backup")
        assert saved.returncode == 0, saved.stderr
        assert EXPERIMENT in saved.stdout
        await bus.close()
        old.stop()

        for damaged in _damaged(tmp_path / "backup"):
            refused = await asyncio.to_thread(new.backup, "load", damaged)
            assert refused.returncode == 1
            assert str(damaged) in refused.stderr
        loaded = await asyncio.to_thread(new.backup, "load", tmp_path / "backup")
        assert loaded.returncode == 0, loaded.stderr
        new.processes["ledger"].start()
        bus = await Bus.connect(new.nats_url, name="test")
        client = Client(bus, EXPERIMENT)
        assert await _held(client, points=30) == before
        # It goes on as if nothing had happened.
        request = edit_request(EditOperation.RESTORE, samples("train", UIDS[0]))
        assert (await client.ask("edit_samples", request, EditSamplesResponse)).edit.revision == 6
        await bus.close()

        again = await asyncio.to_thread(new.backup, "load", tmp_path / "backup")
        assert again.returncode == 1
        assert "empty" in again.stderr
        twice = await asyncio.to_thread(new.backup, "save", tmp_path / "backup")
        assert twice.returncode == 1
        assert "there already" in twice.stderr
        assert "Traceback" not in again.stderr
    finally:
        old.stop()
        new.stop()
