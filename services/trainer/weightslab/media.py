"""Sees to it that images are served: by a worker process, or by a thread when a dataset cannot travel to one."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import logging
import os
import sys
import time
from pathlib import Path

from nats.aio.subscription import Subscription
from weightslab_common import subjects
from weightslab_common.bus import Bus
from weightslab_proto.weightslab.bus.v1 import GetMediaPageRequest, GetMediaPageResponse

from weightslab.media_parcel import Parcel, Unpicklable, packed, send
from weightslab.media_source import MediaSource, MediaSplit
from weightslab.split import Split

log = logging.getLogger(__name__)

_RESTART_SECS = 0.5
# A worker that dies so often, each time so soon, has a fault that starting it again does not mend.
_EARLY_DEATHS = 3
_EARLY_SECS = 20.0
_STOP_SECS = 2.0


class MediaWorker:
    """Starts the worker with the datasets that were added, and starts it again when it dies.

    Lives on the publisher thread, but for its construction.
    """

    def __init__(
        self, *, experiment: str, nats_url: str, nats_token: str | None, predictions: Path, in_thread: bool
    ) -> None:
        self._experiment = experiment
        self._predictions = predictions
        self._in_thread = in_thread
        self._nats_url = nats_url
        self._nats_token = nats_token
        self._splits: list[MediaSplit] = []
        self._added = 0
        self._changed = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._thread: Subscription | None = None

    @property
    def pid(self) -> int | None:
        """The worker's process id; None when there is none."""
        return self._process.pid if self._process and self._process.returncode is None else None

    def add(self, split: Split) -> None:
        """Serve the samples of a split, too; one of the same registration is served already."""
        known = {other.registration_id for other in self._splits}
        if split.catalog.registration_id not in known:
            self._splits.append(
                MediaSplit(split.name, split.dataset, split.catalog.uids, split.catalog.registration_id)
            )
            self._changed.set()

    async def run(self, bus: Bus) -> None:
        """Keep the images served, until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            splits = list(self._splits)
            if self._in_thread:
                await self._serve_in_thread(bus, splits)
                continue
            try:
                await self._serve_in_process(splits)
            except Unpicklable as reason:
                log.warning("images are read in a thread of the training process: %s", reason)
                await self._serve_in_thread(bus, splits)

    async def stop(self) -> None:
        """End the worker."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        if process.stdin:
            process.stdin.close()
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), timeout=_STOP_SECS)
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _serve_in_process(self, splits: list[MediaSplit]) -> None:
        """Serve by a worker process until another split is added.

        Raises Unpicklable, also when it dies again and again at its start.
        """
        early_deaths = 0
        while not self._changed.is_set():
            parcels = await asyncio.to_thread(_packed, splits)
            started = time.monotonic()
            self._process = await self._worker()
            with contextlib.suppress(ConnectionError):
                assert self._process.stdin is not None
                for parcel, script in parcels:
                    await send(parcel, script=script, to=self._process.stdin)
            # Made again for another worker: kept, they would cost the training process their size in memory.
            del parcels
            ended = asyncio.create_task(self._process.wait())
            changed = asyncio.create_task(self._changed.wait())
            try:
                await asyncio.wait({ended, changed}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                ended.cancel()
                changed.cancel()
            if self._changed.is_set():
                await self.stop()
                return
            early_deaths = early_deaths + 1 if time.monotonic() - started < _EARLY_SECS else 0
            if early_deaths == _EARLY_DEATHS:
                raise Unpicklable("the media worker cannot start")
            log.warning("the media worker has died (exit status %s); it is started again", self._process.returncode)
            await asyncio.sleep(_RESTART_SECS)

    async def _worker(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "weightslab.media_process",
            self._experiment,
            str(self._predictions),
            stdin=asyncio.subprocess.PIPE,
            # Arguments are seen by every user of the machine, and the URL may hold a password.
            env={
                **os.environ,
                "WL_NATS_URL": self._nats_url,
                "WL_NATS_TOKEN": self._nats_token or "",
                "OMP_NUM_THREADS": "1",
            },
        )

    async def _serve_in_thread(self, bus: Bus, splits: list[MediaSplit]) -> None:
        source = MediaSource(predictions=self._predictions)
        for split in splits:
            source.add(split)

        async def answer(request: GetMediaPageRequest) -> GetMediaPageResponse:
            return await asyncio.to_thread(source.get_page, request)

        if self._thread is not None:
            await self._thread.unsubscribe()
        self._thread = await bus.serve(
            subjects.media(self._experiment), GetMediaPageRequest, answer, queue="media", max_concurrent=1
        )


def _packed(splits: list[MediaSplit]) -> list[tuple[Parcel, str]]:
    """Each split with the script that its classes are in. Raises Unpicklable."""
    parcels = [packed(split) for split in splits]
    return [(parcel, _main_script() if parcel.mentions(b"__main__") else "") for parcel in parcels]


def _main_script() -> str:
    """The user's script, when another process can import it without running it. Raises Unpicklable."""
    path = getattr(sys.modules["__main__"], "__file__", None)
    if not path or not Path(path).exists():
        raise Unpicklable("the dataset's class is defined interactively; put it into a module")
    if not _is_guarded(Path(path).read_text()):
        raise Unpicklable(
            f'the dataset\'s class is defined in {Path(path).name}, which has no `if __name__ == "__main__":`; '
            "add it, or put the class into a module"
        )
    return str(Path(path).resolve())


def _is_guarded(source: str) -> bool:
    """Whether a script has a top-level `if __name__ == "__main__":`."""
    return any(
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Compare)
        and isinstance(node.test.left, ast.Name)
        and node.test.left.id == "__name__"
        for node in ast.parse(source).body
    )
