"""What reaches the bus: everything, in order, with run and sequence; and what happens while the bus is away."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import nats.errors
import nats.js.errors
import pytest
import torch
import weightslab as wl
from torch.utils.data import DataLoader
from weightslab.records import TRAIN_MODE
from weightslab_common import embedded, subjects
from weightslab_common.bus import Bus
from weightslab_common.columns import F64, unpack
from weightslab_proto.weightslab.v1 import PauseRequest, PauseResponse, RunState

from tests.support.processes import Process, accepts, wait_until
from tests.unit.trainer.peers import Peer, eventually, new_experiment
from tests.unit.trainer.runs import Numbered
from tests.unit.trainer.served import TRAIN_COUNT, VAL_COUNT, Script

MakeScript = Callable[..., Script]


async def _finished(peer: Peer, running: Script) -> int:
    """Let an epoch and its validation pass, end the script, and return the steps it took."""
    await peer.status_when(lambda status: status.epoch >= 1 and status.step > 7, what="an epoch has passed")
    running.end()
    status = await peer.status()
    assert status is not None
    return status.step


async def test_both_splits_are_registered_with_targets_and_class_names(script: MakeScript, peer: Peer) -> None:
    script()
    await peer.attached()

    async def both() -> list[Any] | None:
        found = await peer.stored(subjects.SAMPLES)
        return found if len(found) == 2 else None

    train, val = await eventually(both, what="two registrations")
    assert (train.split, train.sample_count, val.split, val.sample_count) == ("train", TRAIN_COUNT, "val", VAL_COUNT)
    assert train.uids == [str(index) for index in range(TRAIN_COUNT)]
    assert train.class_names == ["a", "b", "c"]
    assert unpack(train.metadata[0].numbers, F64).tolist() == [index % 3 for index in range(TRAIN_COUNT)]
    assert train.complete


async def test_every_step_is_a_point_and_every_sample_of_it_a_value(script: MakeScript, peer: Peer) -> None:
    running = script().start()
    steps = await _finished(peer, running)
    points = await peer.points("train/loss")
    assert [(branch, mode, step) for branch, mode, step, _ in points][:steps] == [
        ("main", TRAIN_MODE, step) for step in range(steps)
    ]
    assert all(math.isfinite(value) for *_, value in points)
    by_step = await peer.positions_by_step("train/loss")
    assert set().union(*(by_step[step] for step in range(5))) == set(range(TRAIN_COUNT))
    assert all(len(by_step[step]) == 8 for step in range(5))
    validated = await peer.positions_by_step("val/confidence", through=5)
    assert validated[5] == set(range(VAL_COUNT))


async def test_messages_carry_one_run_and_a_sequence_without_a_gap(script: MakeScript, peer: Peer) -> None:
    running = script().start()
    await _finished(peer, running)
    messages = [m for what in (subjects.SAMPLES, subjects.SIGNALS, subjects.VALUES) for m in await peer.stored(what)]
    assert len({message.run_id for message in messages}) == 1
    assert sorted(message.sequence for message in messages) == list(range(1, len(messages) + 1))


async def test_the_status_tells_what_is_watched(script: MakeScript, peer: Peer) -> None:
    script(total_steps=500).start()
    status = await peer.begun()
    assert status.state == RunState.RUNNING
    assert (status.experiment, status.branch, status.total_steps) == (peer.experiment, "main", 500)
    assert [(model.name, model.parameter_count) for model in status.models] == [("model", 67)]
    assert [(optimizer.name, optimizer.type) for optimizer in status.optimizers] == [("optimizer", "SGD")]
    assert [(loader.split, loader.batch_size, loader.sample_count) for loader in status.loaders] == [
        ("train", 8, TRAIN_COUNT),
        ("val", 6, VAL_COUNT),
    ]
    assert [hyperparameter.name for hyperparameter in status.hyperparameters] == ["batch_size", "optimizer.lr"]
    rated = await peer.status_when(lambda s: s.steps_per_sec > 0, what="rates are measured")
    assert rated.samples_per_sec > rated.steps_per_sec
    assert (rated.last_checkpoint_step, rated.finished, rated.dropped_values) == (-1, False, 0)


async def test_values_that_the_user_logs_are_published_by_uid(script: MakeScript, peer: Peer) -> None:
    running = script()
    await peer.attached()
    wl.log_sample_signals(["3", 1], split="val", hardness=[0.5, 0.25])
    running.end()
    assert sorted(await peer.values("val/hardness")) == [(0, 1, 0.25), (0, 3, 0.5)]


async def test_what_is_too_large_for_the_bus_is_left_out_and_counted_and_the_rest_goes_on(
    script: MakeScript, peer: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    running = script()
    await peer.attached()
    huge = DataLoader(Numbered(2), batch_size=2)
    wl.watch_loader(huge, split="huge", class_names=[f"{number}{'x' * 10_000}" for number in range(900)])
    await peer.status_when(lambda status: status.dropped_values == 1, what="the registration was counted")
    wl.log_sample_signals([1], split="val", hardness=[0.25])
    running.end()
    assert await peer.values("val/hardness") == [(0, 1, 0.25)]
    assert "max_payload" in caplog.text


async def test_logged_values_are_those_of_the_call_whatever_the_loop_does_to_its_tensors(
    script: MakeScript, peer: Peer
) -> None:
    running = script()
    await peer.attached()
    uids, loss, weights = torch.tensor([3, 1]), torch.tensor([0.5, 0.25]), torch.ones(2, requires_grad=True)
    wl.log_sample_signals(uids, split="val", hardness=loss, weight=weights)
    for tensor in (uids, loss, weights.detach()):
        tensor.zero_()
    running.end()
    assert sorted(await peer.values("val/hardness")) == [(0, 1, 0.25), (0, 3, 0.5)]
    assert sorted(await peer.values("val/weight")) == [(0, 1, 1.0), (0, 3, 1.0)]


async def test_predictions_that_are_not_kept_are_counted_in_the_status(script: MakeScript, peer: Peer) -> None:
    script()
    assert (await peer.attached()).dropped_predictions == 0
    # One mask beyond the bound of what is handed off.
    wl.log_predictions([3], split="val", masks=torch.zeros(1, 6000, 6000, dtype=torch.uint8))
    await peer.status_when(lambda status: status.dropped_predictions == 1, what="the lost prediction is counted")


async def test_a_fault_while_the_status_is_made_does_not_end_the_publishing(
    script: MakeScript, peer: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    running = script().start()
    before = await peer.begun()
    # What a user's own model may do to who looks at it.
    running.model.parameters = _fails  # type: ignore[method-assign,assignment]
    await asyncio.to_thread(wait_until, lambda: "a fault in the publisher" in caplog.text, what="the fault is logged")
    del running.model.parameters
    after = await peer.status_when(lambda s: s.sequence > before.sequence + 2, what="statuses go on")
    assert after.run_id == before.run_id


def _fails(recurse: bool = True) -> None:
    raise RuntimeError("no parameters today")


@pytest.fixture
def own_nats(tmp_path: Path) -> Iterator[tuple[Process, str]]:
    """A NATS server that the test may kill."""
    port = embedded.free_port()
    command = embedded.nats_command(tmp_path / "nats", port=port)
    process = Process(command, log=tmp_path / "nats.log")
    process.start()
    wait_until(lambda: accepts(port), what="NATS listens")
    yield process, f"nats://127.0.0.1:{port}"
    process.kill()


@pytest.fixture
async def own_peer(own_nats: tuple[Process, str]) -> AsyncIterator[Peer]:
    bus = await Bus.connect(own_nats[1], name="peer")
    await bus.ensure_streams()
    yield Peer(bus, new_experiment())
    await bus.close()


async def test_while_the_bus_is_away_training_goes_on_and_nothing_is_lost(
    own_nats: tuple[Process, str], own_peer: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, url = own_nats
    monkeypatch.setenv("WL_MEDIA_WORKER", "thread")
    running = Script(tmp_path, nats_url=url, experiment=own_peer.experiment, monkeypatch=monkeypatch).start()
    try:
        await own_peer.begun()
        process.kill()
        steps_seen = len(running.steps)
        await asyncio.to_thread(wait_until, lambda: len(running.steps) > steps_seen + 40, what="training goes on")
        process.start()
        await eventually(_connected(own_peer), what="the bus is back", timeout_secs=30)
        await own_peer.status_when(lambda s: s.step > steps_seen + 40 and s.outbox_messages == 0, what="all is sent")
        paused = await own_peer.ask("pause", PauseRequest(), PauseResponse)
    finally:
        running.end()
    status = await own_peer.status()
    assert status is not None
    assert status.dropped_values == 0
    # Every step once, though messages were repeated after the kill.
    seen = [step for _, _, step, _ in await _deduplicated_points(own_peer, "train/loss")]
    assert seen[: paused.step] == list(range(paused.step))


async def test_a_bus_that_lost_its_streams_is_told_the_samples_again(
    own_nats: tuple[Process, str], own_peer: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, url = own_nats
    monkeypatch.setenv("WL_MEDIA_WORKER", "thread")
    running = Script(tmp_path, nats_url=url, experiment=own_peer.experiment, monkeypatch=monkeypatch).start()
    try:
        await own_peer.begun()
        process.kill()
        (tmp_path / "nats" / "jetstream").rename(tmp_path / "lost")
        process.start()
        await eventually(_connected(own_peer), what="the bus is back", timeout_secs=30)

        async def registered() -> bool:
            # The streams are made while they are looked at.
            with contextlib.suppress(nats.errors.Error, nats.js.errors.Error):
                return len(await own_peer.stored(subjects.SAMPLES)) == 2
            return False

        await eventually(registered, what="the splits are registered again")
    finally:
        running.end()


async def test_without_any_bus_training_goes_on_and_what_waits_is_kept_for_the_next_process(
    peer: Peer, nats_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WL_MEDIA_WORKER", "thread")
    nowhere = f"nats://127.0.0.1:{embedded.free_port()}"
    alone = Script(tmp_path, nats_url=nowhere, experiment=peer.experiment, monkeypatch=monkeypatch).start()
    await asyncio.to_thread(wait_until, lambda: len(alone.steps) >= 20, what="training goes on")
    started = time.monotonic()
    alone.end()
    assert time.monotonic() - started < 5
    again = Script(tmp_path, nats_url=nats_url, experiment=peer.experiment, monkeypatch=monkeypatch)

    async def sent() -> bool:
        return len(await peer.points("train/loss")) >= 20

    await eventually(sent, what="what the first process left is sent by the second")
    again.end()


KILLED = """
import signal
import weightslab as wl
wl.watch_metric(lambda: 0.5, name="val/accuracy")()
wl.serve(serving_cli=False)
signal.pause()
"""


async def test_a_process_that_is_killed_while_the_bus_is_away_leaves_its_points_to_the_next(
    peer: Peer, nats_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = f"nats://127.0.0.1:{embedded.free_port()}"
    settings = {"WL_NATS_URL": nowhere, "WL_DATA_DIR": str(tmp_path), "WL_EXPERIMENT": peer.experiment}
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", KILLED, env={**os.environ, **settings})
    try:
        spool = tmp_path / peer.experiment / "spool"
        await asyncio.to_thread(
            wait_until, lambda: any(b"val/accuracy" in path.read_bytes() for path in spool.glob("*")), what="it waits"
        )
    finally:
        process.kill()
        await process.wait()
    monkeypatch.setenv("WL_MEDIA_WORKER", "thread")
    running = Script(tmp_path, nats_url=nats_url, experiment=peer.experiment, monkeypatch=monkeypatch)

    async def sent() -> bool:
        return [value for *_, value in await peer.points("val/accuracy")] == [0.5]

    await eventually(sent, what="the point of the killed process is sent by the next", timeout_secs=60)
    running.end()


def _connected(peer: Peer) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        return peer.bus.connected

    return look


async def _deduplicated_points(peer: Peer, signal: str) -> list[tuple[str, int, int, float]]:
    """Points as a ledger takes them: each (run, sequence) once, in its order."""
    batches = {(batch.run_id, batch.sequence): batch for batch in await peer.stored(subjects.SIGNALS)}
    found = []
    for _, batch in sorted(batches.items()):
        peer_points = [
            (batch.branch, int(batch.mode), step, value)
            for column in batch.columns
            if column.signal == signal
            for step, value in zip(
                memoryview(column.steps).cast("q").tolist(), unpack(column.values, F64).tolist(), strict=True
            )
        ]
        found += peer_points
    return found


ENDING = """
import asyncio, atexit, logging, threading
from weightslab.publisher import _kept_up

async def work():
    while True:
        await asyncio.to_thread(int)
        await asyncio.sleep(0.01)

logging.basicConfig()
publisher = threading.Thread(target=lambda: asyncio.run(_kept_up(work)), daemon=True)
publisher.start()
# As a run does: stopped after Python has begun to end and starts no more threads.
atexit.register(publisher.join)
"""


def test_a_script_that_ends_is_no_fault_of_the_publisher() -> None:
    ended = subprocess.run([sys.executable, "-c", ENDING], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stderr == ""
