"""The media worker: a process of its own, so that reading and encoding images costs the training nothing.

It is started with a pipe as standard input, through which its parent sends datasets. When the pipe closes, the parent
has gone, and so does the worker.
"""

from __future__ import annotations

import asyncio
import os
import signal
import struct
import sys
import types
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

from weightslab_common import subjects, traces
from weightslab_common.bus import Bus
from weightslab_common.bus_tls import told_context
from weightslab_common.settings import TracesSettings, load
from weightslab_proto.weightslab.bus.v1 import GetMediaRequest, GetMediaResponse

from weightslab.media_source import MediaSource, MediaSplit

# One frame: the path of the parent's main script (may be empty), then the pickled split.
FRAME = struct.Struct("<IQ")
_NICENESS = 5


async def _run(*, experiment: str, nats_url: str, nats_token: str | None, predictions: Path) -> None:
    source = MediaSource(predictions=predictions)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer)
    bus = await Bus.connect(nats_url, name=f"media {experiment}", token=nats_token, tls=told_context())

    async def answer(request: GetMediaRequest) -> GetMediaResponse:
        return await asyncio.to_thread(source.get, request)

    serving = False
    try:
        while True:
            script_bytes, split_bytes = FRAME.unpack(await reader.readexactly(FRAME.size))
            script = (await reader.readexactly(script_bytes)).decode()
            payload = await reader.readexactly(split_bytes)
            source.add(await asyncio.to_thread(_load, payload, script))
            if not serving:
                serving = True
                await bus.serve(subjects.media(experiment), GetMediaRequest, answer, queue="media", max_concurrent=4)
    except asyncio.IncompleteReadError:
        return
    finally:
        await bus.close()


def _load(payload: bytes, script: str) -> MediaSplit:
    if script and getattr(sys.modules["__main__"], "__file__", None) != script:
        _import_main(script)
    # From our own parent, through our own pipe.
    split: MediaSplit = ForkingPickler.loads(payload)
    return split


def _import_main(script: str) -> None:
    """Make the classes of the user's script known, as `multiprocessing` does for its children."""
    import runpy

    module = types.ModuleType("__mp_main__")
    sys.modules["__mp_main__"] = module
    folder = os.path.dirname(os.path.abspath(script))
    if folder not in sys.path:
        sys.path.insert(0, folder)
    module.__dict__.update(runpy.run_path(script, run_name="__mp_main__"))
    sys.modules["__main__"] = module


def main(arguments: list[str]) -> None:
    """`python -m weightslab.media_process <experiment> <predictions>`; the bus is in `WL_NATS_URL`, `WL_NATS_TOKEN`."""
    # Ctrl-C goes to the whole group; the parent decides when its worker ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(_NICENESS)
    experiment, predictions = arguments
    nats_url = os.environ["WL_NATS_URL"]
    traces.configure("media", url=load(TracesSettings).traces_url)
    options: dict[str, Any] = {"nats_token": os.environ.get("WL_NATS_TOKEN") or None}
    asyncio.run(_run(experiment=experiment, nats_url=nats_url, predictions=Path(predictions), **options))


if __name__ == "__main__":
    main(sys.argv[1:])
