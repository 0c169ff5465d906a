"""The trainer's side of the bus, written by a test: a synthetic split, curves of any length, answers for images.

What a real trainer would need hours for is in the ledger after seconds; every byte travels and is stored as its would.
"""

from __future__ import annotations

import asyncio
import io
import threading
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from weightslab_common import subjects
from weightslab_common.bus import Bus
from weightslab_common.columns import F64, I64, pack
from weightslab_common.media import Picture, response_of
from weightslab_proto.weightslab.bus.v1 import (
    GetMediaPageRequest,
    GetMediaPageResponse,
    MetadataColumn,
    SignalBatch,
    SignalColumn,
    SplitRegistration,
)
from weightslab_proto.weightslab.v1 import Branch, Mode, RunState, RunStatus

from tests.support.main_job import LOSS
from tests.support.studio import EXPERIMENT, Studio

SAMPLES_PER_MESSAGE = 20_000
# Half a MiB, as much as a trainer puts into one.
POINTS_PER_MESSAGE = 30_000
IMAGE_PX, CLASSES = 128, 6


def _png(pixels: NDArray[Any]) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, format="PNG")
    return content.getvalue()


def _squares() -> bytes:
    """A mask with squares of each class."""
    ids = np.arange(64).reshape(8, 8) % CLASSES
    return _png(np.kron(ids, np.ones((IMAGE_PX // 8, IMAGE_PX // 8))).astype(np.uint8))


LAYERS = {
    "image": _png(np.random.default_rng(2).integers(0, 255, (IMAGE_PX, IMAGE_PX)).astype(np.uint8)),
    "gt": _squares(),
}


class WrittenRun:
    """Publishes from a thread of its own."""

    def __init__(self, studio: Studio) -> None:
        self._loop = asyncio.new_event_loop()
        self._sequence = 0
        self._stored = 0
        self._step = 0
        self._branches: list[str] = []
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._bus: Bus = self._run(Bus.connect(f"nats://127.0.0.1:{studio.nats_port}", name="written-run"))

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(300)

    def fill(self, sample_count: int, curves: Mapping[str, NDArray[np.float64]]) -> None:
        """Register the samples, publish a curve of the loss for each branch, answer for images from then on.

        Values of a branch (steps,): one for each step from 0.
        """
        self._branches = list(curves)
        self._step = max(len(values) for values in curves.values())
        self._run(self._fill(sample_count))
        for branch, values in curves.items():
            self.add_curve(LOSS, branch, values)

    def add_curve(self, signal: str, branch: str, values: NDArray[np.float64]) -> None:
        """Publish a whole curve: `values` (steps,), one for each step from 0."""

        async def publish() -> None:
            for first in range(0, len(values), POINTS_PER_MESSAGE):
                part = values[first : first + POINTS_PER_MESSAGE]
                await self._publish(signal, branch, np.arange(first, first + len(part)), part)

        self._run(publish())

    def step(self) -> float:
        """Publish one point more of the first branch; returns when that began, in seconds of the machine's clock."""
        self._step += 1
        began = time.time()
        self._run(self._publish(LOSS, self._branches[0], np.array([self._step]), np.array([0.5])))
        return began

    def close(self) -> None:
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        self._told.cancel()
        await self._bus.close()

    async def _fill(self, sample_count: int) -> None:
        # As a trainer does, who may be there before any ledger.
        await self._bus.ensure_streams()
        await self._bus.serve(subjects.media(EXPERIMENT), GetMediaPageRequest, self._media, queue="media")
        self._told = asyncio.create_task(self._tell())
        for first in range(0, sample_count, SAMPLES_PER_MESSAGE):
            count = min(SAMPLES_PER_MESSAGE, sample_count - first)
            part = SplitRegistration(
                registration_id="written",
                split="train",
                sample_count=sample_count,
                first_position=first,
                uids=[str(uid) for uid in range(first, first + count)],
                metadata=[MetadataColumn(name="target", numbers=pack(np.arange(first, first + count) % 10.0, F64))],
                media_kind="image",
                layers=list(LAYERS),
                class_names=[f"class {number}" for number in range(CLASSES)],
                run_id="written",
                complete=first + count == sample_count,
            )
            await self._store(subjects.SAMPLES, part)

    async def _publish(self, signal: str, branch: str, steps: NDArray[Any], values: NDArray[np.float64]) -> None:
        self._sequence += 1
        column = SignalColumn(signal=signal, steps=pack(steps, I64), values=pack(values, F64))
        batch = SignalBatch(run_id="written", sequence=self._sequence, branch=branch, mode=Mode.TRAIN, columns=[column])
        await self._store(subjects.SIGNALS, batch)

    async def _store(self, what: str, message: Any) -> None:
        self._stored += 1
        await self._bus.store(
            subjects.subject(EXPERIMENT, what), bytes(message), message_id=f"written-{self._stored}", timeout_secs=30
        )

    async def _tell(self) -> None:
        """A trainer says once a second how it stands."""
        sequence = 0
        while True:
            sequence += 1
            status = RunStatus(
                experiment=EXPERIMENT,
                run_id="written",
                sequence=sequence,
                state=RunState.PAUSED,
                mode=Mode.TRAIN,
                branch=self._branches[0],
                step=self._step,
                branches=[Branch(branch=branch, name=branch) for branch in self._branches],
                last_checkpoint_step=-1,
            )
            await self._store(subjects.STATUS, status)
            await asyncio.sleep(1)

    async def _media(self, request: GetMediaPageRequest) -> GetMediaPageResponse:
        picture = Picture(LAYERS[request.layer], "image/png", "1", IMAGE_PX, IMAGE_PX)
        return response_of([picture] * len(request.uids))
