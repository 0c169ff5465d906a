"""The examples run, publish, show their images, and end in order."""

from __future__ import annotations

import asyncio
import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from weightslab_common import subjects
from weightslab_common.bus import Bus
from weightslab_common.errors import DeadlineExceeded, NotFound, Unavailable
from weightslab_proto.weightslab.bus.v1 import SampleValueBatch, SplitRegistration
from weightslab_proto.weightslab.v1 import Mode, RunStatus, SetModeRequest, SetModeResponse

from tests.support.media import image_of
from tests.support.processes import Process

ROOT = Path(__file__).resolve().parents[2]
SIGNALS = {
    "segmentation": {"train/loss", "val/loss", "val/pixel_accuracy"},
    "classification": {"train/loss", "train/confidence", "val/loss", "val/accuracy", "val/prediction"},
    "detection": {"train/box_loss", "train/class_loss", "val/box_loss", "val/prediction"},
    "volumes": {"train/loss", "val/loss"},
    "gradient_accumulation": {"train/loss", "val/loss", "train/el2n", "val/prediction"},
}


async def _until_finished(bus: Bus, experiment: str, process: Process) -> RunStatus:
    async with asyncio.timeout(90):
        while True:
            stored = await bus.last_status(experiment)
            status = RunStatus().parse(stored or b"")
            if status.finished:
                return status
            assert process.running, process.output()
            await asyncio.sleep(0.1)


async def _image(bus: Bus, experiment: str, uid: str, layer: str, z: int = 0) -> np.ndarray:
    async with asyncio.timeout(60):
        while True:
            try:
                reply = await image_of(bus, experiment, uid, layer=layer, slice=z, timeout_secs=5)
                return np.asarray(Image.open(io.BytesIO(reply.content)))
            # A worker that is started again with another split does not know all of them for a moment.
            except (Unavailable, DeadlineExceeded, NotFound):
                await asyncio.sleep(0.1)


async def _publishes(bus: Bus, experiment: str, signals: set[str]) -> None:
    """Return once these are stored: the end of the loop is told before its last values are."""
    async with asyncio.timeout(60):
        while True:
            if await _signals(bus, experiment) >= signals:
                return
            await asyncio.sleep(0.1)


async def _signals(bus: Bus, experiment: str) -> set[str]:
    consumer = await bus.js.pull_subscribe(subjects.subject(experiment, subjects.VALUES), stream="WL_RUN")
    pending = (await consumer.consumer_info()).num_pending or 0
    found: set[str] = set()
    for _ in range(pending):
        for message in await consumer.fetch(1, timeout=5):
            found |= {column.signal for column in SampleValueBatch().parse(message.data).columns}
    return found


async def _shows_masks(bus: Bus, experiment: str) -> None:
    # The dataset's class is defined in the script, which the worker imports without running it.
    assert (await _image(bus, experiment, "7", "image")).shape == (32, 32)
    for layer in ("gt", "pred"):
        assert set(np.unique(await _image(bus, experiment, "7", layer)).tolist()) <= {0, 1, 2}
    truth, predicted = [await _image(bus, experiment, "7", layer) for layer in ("gt", "pred")]
    assert (truth == predicted).mean() > 0.5
    verdict = await _image(bus, experiment, "7", "diff")
    assert (verdict == 1).tolist() == ((truth == predicted) & (truth != 0)).tolist()


async def _shows_boxes(bus: Bus, experiment: str) -> None:
    for layer in ("gt", "pred", "diff"):
        outline = await _image(bus, experiment, "3", layer)
        assert outline.shape == (48, 48)
        assert outline.any()


async def _shows_slices(bus: Bus, experiment: str) -> None:
    planes = [await _image(bus, experiment, "5", "gt", z) for z in range(8)]
    assert {plane.shape for plane in planes} == {(24, 24)}
    assert {0, 1} == set(np.unique(np.stack(planes)).tolist())
    predicted = np.stack([await _image(bus, experiment, "5", "pred", z) for z in range(8)])
    assert (predicted == np.stack(planes)).mean() > 0.5


async def _shows_nothing_more(bus: Bus, experiment: str) -> None:
    # Which samples train is drawn by the example: take one that was registered.
    assert (await _image(bus, experiment, await _first_uid(bus, experiment), "image")).shape == (8, 8)


async def _first_uid(bus: Bus, experiment: str) -> str:
    consumer = await bus.js.pull_subscribe(subjects.subject(experiment, subjects.SAMPLES), stream="WL_RUN")
    while True:
        for message in await consumer.fetch(1, timeout=5):
            registration = SplitRegistration().parse(message.data)
            if registration.split == "train":
                return registration.uids[0]


SHOWN = {"segmentation": _shows_masks, "detection": _shows_boxes, "volumes": _shows_slices}


@pytest.mark.parametrize("name", SIGNALS)
async def test_an_example_runs_publishes_and_ends_in_order(name: str, nats_url: str, tmp_path: Path) -> None:
    experiment = f"example-{name.replace('_', '-')}"
    environment = {
        "WL_NATS_URL": nats_url,
        "WL_DATA_DIR": str(tmp_path),
        "WL_EXPERIMENT": experiment,
        "CLI_PORT": "0",
        "PYTHONWARNINGS": "error",
    }
    script = ROOT / "examples" / f"{name}.py"
    process = Process([sys.executable, str(script), "--epochs", "2"], log=tmp_path / "log", environment=environment)
    process.start()
    bus = await Bus.connect(nats_url, name="test")
    try:
        status = await _until_finished(bus, experiment, process)
        assert status.step > 40
        assert status.dropped_values == 0
        await _publishes(bus, experiment, SIGNALS[name])
        for mode in (Mode.AUDIT, Mode.TRAIN):
            reply = await bus.request(
                subjects.command(experiment, "set_mode"),
                SetModeRequest(mode=mode),
                SetModeResponse,
                timeout_secs=15,
                part="trainer",
            )
        assert reply.audit is not None
        assert reply.audit.hash_after == reply.audit.hash_before
        await SHOWN.get(name, _shows_nothing_more)(bus, experiment)
        assert process.stop(20) == 0, process.output()
    finally:
        process.kill()
        await bus.close()
