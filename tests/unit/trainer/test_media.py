"""Images over the bus, from a worker process that may die and a dataset that may not travel."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import pickle
import signal
import sys
import types
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, TensorDataset
from weightslab import media, media_parcel, media_source
from weightslab.media_source import MediaSource, MediaSplit
from weightslab_common.bus import PAYLOAD_TARGET_BYTES, Bus
from weightslab_common.errors import DeadlineExceeded, InvalidArgument, NotFound, Unavailable
from weightslab_common.media import Layer, Picture, replies_of, request_of

from tests.support.media import image_of
from tests.unit.trainer.peers import eventually, new_experiment
from tests.unit.trainer.runs import split_of

IMAGES = torch.arange(4 * 6 * 8, dtype=torch.uint8).reshape(4, 1, 6, 8)


class Broken(Dataset[Any]):
    """Sample 1 cannot be read, and it knows what cannot be pickled."""

    def __init__(self) -> None:
        self.origin: Callable[[], int] = lambda: 1

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Any:
        if index == 1:
            raise OSError("the disk is gone")
        return torch.zeros(6, 8), torch.tensor([[0, 255], [3, 4]])


def _dataset() -> TensorDataset:
    return TensorDataset(IMAGES, torch.arange(4))


async def _first(bus: Bus, experiment: str, uid: str) -> Picture:
    async def look() -> Picture | None:
        try:
            return await image_of(bus, experiment, uid)
        except (Unavailable, DeadlineExceeded):
            return None

    return await eventually(look, what="the worker answers", timeout_secs=120)


@contextlib.asynccontextmanager
async def _working(nats_url: str, experiment: str, folder: Path) -> AsyncIterator[tuple[Bus, media.MediaWorker]]:
    """A media worker in a process of its own, and a bus to ask it by; both are ended."""
    bus = await Bus.connect(nats_url, name="test")
    worker = media.MediaWorker(
        experiment=experiment, nats_url=nats_url, nats_token=None, predictions=folder / "p.db", in_thread=False
    )
    running = asyncio.create_task(worker.run(bus))
    try:
        yield bus, worker
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await worker.stop()
        await bus.close()


def _pixels(reply: Picture) -> list[list[int]]:
    pixels: list[list[int]] = np.asarray(Image.open(io.BytesIO(reply.content))).tolist()
    return pixels


async def test_a_worker_process_answers_and_is_started_again_when_it_is_killed(nats_url: str, tmp_path: Path) -> None:
    experiment = new_experiment()
    async with _working(nats_url, experiment, tmp_path) as (bus, worker):
        worker.add(split_of(_dataset()))
        reply = await _first(bus, experiment, "2")
        assert _pixels(reply) == IMAGES[2, 0].tolist()
        assert (reply.media_type, reply.source_width_px, reply.source_height_px) == ("image/png", 8, 6)
        pid = worker.pid
        assert pid is not None
        assert pid != os.getpid()
        # It gives way to the training.
        assert psutil.Process(pid).nice() == min(19, os.getpriority(os.PRIO_PROCESS, 0) + 10)
        # Arguments are seen by every user of the machine, and a URL may hold a password.
        assert not [argument for argument in psutil.Process(pid).cmdline() if nats_url in argument]
        os.kill(pid, signal.SIGKILL)
        assert _pixels(await _first(bus, experiment, "3")) == IMAGES[3, 0].tolist()
        assert worker.pid not in (None, pid)
        with pytest.raises(NotFound, match="split 'train' has no sample '4'"):
            await image_of(bus, experiment, "4")
    assert worker.pid is None


async def test_a_large_dataset_arrives_whole_and_its_memory_is_not_copied(nats_url: str, tmp_path: Path) -> None:
    images = torch.tensor([0, 100, 200], dtype=torch.uint8).repeat_interleave(512 * 512).reshape(3, 1, 512, 512)
    dataset = TensorDataset(images, torch.arange(3))
    split = split_of(dataset)
    parcel = media_parcel.packed(MediaSplit("train", dataset, split.catalog.uids, "registration"))
    assert parcel.pickled.nbytes < 64 * 1024
    assert [np.shares_memory(np.asarray(piece), images.numpy()) for piece in parcel.pieces] == [True]
    experiment = new_experiment()
    async with _working(nats_url, experiment, tmp_path) as (bus, worker):
        worker.add(split)
        reply = await _first(bus, experiment, "2")
        assert worker.pid is not None
        assert (reply.source_width_px, reply.source_height_px) == (512, 512)
        # As a photograph it is not kept to the last bit.
        assert np.abs(np.asarray(_pixels(reply)) - 200).max() <= 2


def test_rows_of_one_tensor_travel_as_rows_and_odd_tensors_as_they_are() -> None:
    whole = torch.rand(2000, 400)
    rows = MediaSplit("train", [*whole, torch.ones(2, dtype=torch.bfloat16), whole.t()[:3]], ("0",), "registration")
    parcel = media_parcel.packed(rows)
    assert parcel.pickled.nbytes + sum(piece.nbytes for piece in parcel.pieces) < 2 * whole.nbytes
    found = pickle.loads(parcel.pickled, buffers=parcel.pieces).dataset
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(rows.dataset, found, strict=True))


async def test_a_dataset_that_cannot_be_pickled_is_served_by_a_thread_and_that_is_said(
    nats_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    experiment = new_experiment()
    async with _working(nats_url, experiment, tmp_path) as (bus, worker):
        worker.add(split_of(Broken()))
        assert (await _first(bus, experiment, "0")).source_height_px == 6
        assert "images are read in a thread of the training process" in caplog.text
        with pytest.raises(NotFound, match="sample '1' of split 'train' cannot be read: OSError: the disk is gone"):
            await image_of(bus, experiment, "1")


async def test_a_worker_that_dies_again_and_again_is_replaced_by_a_thread(
    nats_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It pickles by its name here, and no other process can import it.
    nowhere = types.ModuleType("only_in_this_process")
    local = type("Local", (TensorDataset,), {"__module__": nowhere.__name__})
    nowhere.Local = local  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, nowhere.__name__, nowhere)
    experiment = new_experiment()
    async with _working(nats_url, experiment, tmp_path) as (bus, worker):
        worker.add(split_of(local(IMAGES, torch.arange(4))))
        assert _pixels(await _first(bus, experiment, "1")) == IMAGES[1, 0].tolist()
        assert "the media worker cannot start" in caplog.text


def _source(folder: Path) -> MediaSource:
    source = MediaSource(predictions=folder / "p.db")
    source.add(MediaSplit("train", Broken(), ("a", "b"), "registration"))
    return source


def test_the_mask_of_a_sample_is_its_ground_truth(tmp_path: Path) -> None:
    reply = _source(tmp_path).get(Layer("train", layer="gt"), "a")
    assert _pixels(reply) == [[0, 255], [3, 4]]
    assert reply.version == "registration"


def test_what_does_not_exist_is_named(tmp_path: Path) -> None:
    source = _source(tmp_path)
    with pytest.raises(NotFound, match="no split 'other'"):
        source.get(Layer("other"), "a")
    with pytest.raises(NotFound, match="no prediction is kept for sample 'a' of split 'train'"):
        source.get(Layer("train", layer="pred"), "a")
    with pytest.raises(InvalidArgument, match="no layer 'depth'; there are: image, gt, pred, diff"):
        source.get(Layer("train", layer="depth"), "a")


@pytest.mark.parametrize(
    ("script", "guarded"),
    [
        ("import x\nif __name__ == '__main__':\n    main()\n", True),
        ("import x\nmain()\n", False),
        ("def f():\n    if __name__ == '__main__':\n        pass\n", False),
    ],
)
def test_only_a_guarded_script_is_imported_by_the_worker(script: str, guarded: bool) -> None:
    assert media._is_guarded(script) is guarded


def _page(source: MediaSource, uids: str) -> list[str]:
    """`image`, what is wrong, or `left out`, of each uid."""
    page = source.get_page(request_of(Layer("train"), uids))
    return [
        "image" if isinstance(reply, Picture) else str(reply or "left out")
        for reply in replies_of(page, count=len(uids))
    ]


def test_an_image_of_a_page_that_cannot_be_read_costs_the_others_nothing(tmp_path: Path) -> None:
    shown = _page(_source(tmp_path), "abxa")
    assert shown[0] == shown[3] == "image"
    assert "sample 'b' of split 'train' cannot be read: OSError: the disk is gone" in shown[1]
    assert "no sample 'x'" in shown[2]


def test_what_comes_late_is_left_out_of_a_page_and_its_first_image_never(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media_source, "PAGE_SECS", 0.0)
    assert _page(_source(tmp_path), "aaa") == ["image", "left out", "left out"]


def test_a_page_fits_into_a_message(tmp_path: Path) -> None:
    source = MediaSource(predictions=tmp_path / "p.db")
    noise = torch.randint(0, 256, (3, 700, 700), dtype=torch.uint8)
    source.add(MediaSplit("train", TensorDataset(noise.expand(40, -1, -1, -1)), [str(n) for n in range(40)], "r"))
    replies = replies_of(source.get_page(request_of(Layer("train"), [str(n) for n in range(40)])), count=40)
    sizes = [len(reply.content) for reply in replies if isinstance(reply, Picture)]
    assert 1 <= len(sizes) < len(replies) == 40
    assert sum(sizes) <= PAYLOAD_TARGET_BYTES or len(sizes) == 1
