"""A page of 64 thumbnails through the gateway: cold from the trainer's media worker, warm from memory, and unchanged.

Run: python bench/gateway_media.py   writes gateway_media.json beside itself.

The whole studio of the demo as real processes, its training paused. Six HTTP/1.1 connections, as many as a browser
opens, fetch the 64 images of a page at 128 pixels: pages never asked for (cold), the same again (warm), and again with
their ETags (unchanged, 304). An address that names the version is not asked for twice by a browser at all.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from weightslab_proto.weightslab.v1 import PauseRequest, QuerySamplesRequest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tests.support.gateway_bench import machine  # noqa: E402
from tests.support.running import running_studio  # noqa: E402
from tests.support.studio import EXPERIMENT, TOKEN, Studio  # noqa: E402

PAGE = 64
PAGES = 12
CONNECTIONS = 6
SIZE_PX = 128
KINDS = ("cold", "warm", "unchanged")


class ImageConnection:
    """A keep-alive connection that fetches one image after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def fetch(self, path: str, etags: dict[str, str], *, known: bool) -> int:
        """The HTTP status; reads the whole image and remembers its ETag."""
        condition = f"if-none-match: {etags[path]}\r\n" if known else ""
        self._writer.write(
            f"GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\n{condition}\r\n".encode()
        )
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        status = int(head[0].split(" ")[1])
        if status == 200:
            await self._reader.readexactly(int(fields["content-length"]))
            etags[path] = fields["etag"]
        return status

    def close(self) -> None:
        self._writer.close()


async def _page_ms(
    connections: list[ImageConnection], paths: list[str], etags: dict[str, str], *, known: bool, status: int
) -> float:
    waiting = iter(paths)

    async def fetch_all(connection: ImageConnection) -> None:
        for path in waiting:
            got = await connection.fetch(path, etags, known=known)
            assert got == status, f"{path}: {got}"

    started = time.perf_counter()
    await asyncio.gather(*(fetch_all(connection) for connection in connections))
    return (time.perf_counter() - started) * 1000


async def measure(studio: Studio) -> dict[str, Any]:
    """Milliseconds per page, of as many different pages."""
    async with studio.api() as api:
        await api.experiments.pause(PauseRequest(experiment=EXPERIMENT))
        request = QuerySamplesRequest(experiment=EXPERIMENT, filter='split == "train"', limit=1000)
        uids = (await api.samples.query_samples(request)).uids
    paths = [f"/media/{EXPERIMENT}/train/{uid}?layer=image&w={SIZE_PX}" for uid in uids[: PAGE * (PAGES + 1)]]
    opened = [ImageConnection(*await asyncio.open_connection("127.0.0.1", studio.web_port)) for _ in range(CONNECTIONS)]
    etags: dict[str, str] = {}
    times: dict[str, list[float]] = {kind: [] for kind in KINDS}
    gateway_cpu_secs = dict.fromkeys(KINDS, 0.0)
    gateway = psutil.Process(studio.processes["gateway"].pid)
    for number, page in enumerate(_pages(paths)):
        for kind in KINDS:
            known = kind == "unchanged"
            cpu_before = sum(gateway.cpu_times()[:2])
            page_ms = await _page_ms(opened, page, etags, known=known, status=304 if known else 200)
            # The first page warms up the worker.
            if number:
                times[kind].append(page_ms)
                gateway_cpu_secs[kind] += sum(gateway.cpu_times()[:2]) - cpu_before
    for connection in opened:
        connection.close()
    return {
        "images_per_page": PAGE,
        "size_px": SIZE_PX,
        "pages": len(times["cold"]),
        "page_ms": {
            kind: {
                "median": round(float(np.median(found)), 1),
                "min": round(min(found), 1),
                "max": round(max(found), 1),
            }
            for kind, found in times.items()
        },
        # What a busy machine does not change: time on the processor, and not the waiting for one.
        "gateway_cpu_ms_per_page": {
            kind: round(1000 * secs / len(times[kind]), 1) for kind, secs in gateway_cpu_secs.items()
        },
    }


def _pages(paths: list[str]) -> list[list[str]]:
    return [paths[start : start + PAGE] for start in range(0, len(paths), PAGE)]


def main() -> None:
    # No person turns pages as fast.
    os.environ["WL_MAX_CALLS_PER_SEC"] = "1000000"
    with tempfile.TemporaryDirectory() as folder, running_studio(Path(folder)) as studio:
        result = asyncio.run(measure(studio))
    result["machine"] = machine()
    text = json.dumps(result, indent=2) + "\n"
    Path(__file__).with_suffix(".json").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
