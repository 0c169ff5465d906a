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
from weightslab_proto.weightslab.bus.v1 import GetMediaPageRequest, GetMediaPageResponse

from weightslab.media_source import MediaSource, MediaSplit

# One frame: three lengths, one more for each large array, the path of the parent's main script (may be empty), the
# pickled split, the large arrays that are part of it.
FRAME = struct.Struct("<IQI")
LENGTH = struct.Struct("<Q")
# Of a core that both want the training then gets nine tenths.
_NICENESS = 10


async def _run(*, experiment: str, nats_url: str, nats_token: str | None, predictions: Path) -> None:
    source = MediaSource(predictions=predictions)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer)
    bus = await Bus.connect(nats_url, name=f"media {experiment}", token=nats_token, tls=told_context())

    async def answer(request: GetMediaPageRequest) -> GetMediaPageResponse:
        return await asyncio.to_thread(source.get_page, request)

    serving = False
    try:
        while True:
            source.add(await _received(reader))
            if not serving:
                serving = True
                await bus.serve(
                    subjects.media(experiment), GetMediaPageRequest, answer, queue="media", max_concurrent=4
                )
    except asyncio.IncompleteReadError:
        return
    finally:
        await bus.close()


async def _received(reader: asyncio.StreamReader) -> MediaSplit:
    """The next split. Raises IncompleteReadError when the parent has gone."""
    script_bytes, split_bytes, piece_count = FRAME.unpack(await reader.readexactly(FRAME.size))
    lengths = [length for (length,) in LENGTH.iter_unpack(await reader.readexactly(piece_count * LENGTH.size))]
    script = (await reader.readexactly(script_bytes)).decode()
    pickled = await reader.readexactly(split_bytes)
    pieces = [await _piece(reader, length) for length in lengths]
    return await asyncio.to_thread(_load, pickled, pieces, script)


async def _piece(reader: asyncio.StreamReader, length: int) -> bytearray:
    """Memory that an array can stand in and be written to."""
    piece = bytearray(length)
    filled = 0
    while filled < length:
        part = await reader.read(length - filled)
        if not part:
            raise asyncio.IncompleteReadError(b"", length - filled)
        piece[filled : filled + len(part)] = part
        filled += len(part)
    return piece


def _load(pickled: bytes, pieces: list[bytearray], script: str) -> MediaSplit:
    if script and getattr(sys.modules["__main__"], "__file__", None) != script:
        _import_main(script)
    # From our own parent, through our own pipe.
    split: MediaSplit = ForkingPickler.loads(pickled, buffers=pieces)
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
