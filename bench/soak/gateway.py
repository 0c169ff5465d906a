"""A day of a gateway compressed into minutes: viewers come and go, people edit and look at images, parts restart.

Run: python bench/soak/gateway.py [--minutes 20]   (`make soak`); writes gateway.json beside itself.

The whole studio of the demo as real processes. A third of the viewers leave every second and others come, some by gRPC
and some by gRPC-Web, some without a goodbye; two people edit and look at images; ledger, bus and trainer are killed in
turn, once in each tenth of the time. The gateway itself is never restarted: its memory, tasks, descriptors and
connections are what is looked at, each time when all viewers have left. The first fifth of the time is for warming up.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import random
import re
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import httpx
import psutil
from grpclib import GRPCError
from grpclib.exceptions import StreamTerminatedError
from weightslab_proto.weightslab.v1 import (
    EditOperation,
    EditSamplesRequest,
    QuerySamplesRequest,
    SampleList,
    SampleRef,
    Target,
    WatchRequest,
)

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from tests.support.gateway_bench import machine  # noqa: E402
from tests.support.running import running_studio  # noqa: E402
from tests.support.studio import EXPERIMENT, TOKEN, Studio  # noqa: E402
from tests.support.web_viewers import WebViewer, open_viewer  # noqa: E402

VIEWERS = 30
RESTARTED = ("ledger", "nats", "trainer")
LOOKS = 10
PEOPLE = 2
# A part that was just killed is missing: that is what is meant to happen.
EXPECTED = (GRPCError, StreamTerminatedError, OSError, httpx.HTTPError, TimeoutError, AssertionError)


class Soak:
    """What goes on, and what was seen of it."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self.counts = dict.fromkeys(("viewers", "messages", "edits", "images", "faults", "restarts"), 0)
        self._busy = asyncio.Event()
        self._web: list[WebViewer] = []
        self._grpc: set[asyncio.Task[None]] = set()

    async def people(self) -> None:
        """Edit and look, now and then failing because a part is away."""
        numbers = random.Random(os.getpid())
        while True:
            await self._busy.wait()
            try:
                async with asyncio.timeout(20), self._studio.api() as api, self._http() as http:
                    for _ in range(20):
                        page = await api.samples.query_samples(QuerySamplesRequest(experiment=EXPERIMENT, limit=20))
                        uid, split = numbers.choice(page.uids), page.splits[0]
                        operation = numbers.choice([EditOperation.ADD_TAG, EditOperation.REMOVE_TAG])
                        target = Target(samples=SampleList(samples=[SampleRef(split=split, uid=uid)]))
                        await api.samples.edit_samples(
                            EditSamplesRequest(
                                experiment=EXPERIMENT,
                                edit_id=uuid.uuid4().hex,
                                operation=operation,
                                tag="soak",
                                target=target,
                            )
                        )
                        self.counts["edits"] += 1
                        size_px = numbers.choice([32, 64, 128, 256])
                        reply = await http.get(f"/media/{EXPERIMENT}/{split}/{uid}?w={size_px}")
                        self.counts["images"] += reply.status_code == 200
                        await asyncio.sleep(0.05)
            except EXPECTED:
                self.counts["faults"] += 1
                await asyncio.sleep(0.5)

    async def come_and_go(self) -> None:
        """Let a third of the viewers be others every second."""
        while True:
            await self._busy.wait()
            await self._leave(VIEWERS // 3)
            while self._busy.is_set() and len(self._web) + len(self._grpc) < VIEWERS:
                try:
                    await self._come()
                except EXPECTED:
                    self.counts["faults"] += 1
                    break
            await asyncio.sleep(1)

    async def _come(self) -> None:
        self.counts["viewers"] += 1
        if self.counts["viewers"] % 2:
            task = asyncio.create_task(self._watch())
            self._grpc.add(task)
            task.add_done_callback(self._grpc.discard)
            return

        def count(message: bytes, at: float) -> None:
            self.counts["messages"] += 1

        viewer = await open_viewer(self._studio.web_port, EXPERIMENT, token=TOKEN, on_message=count)
        # Not in one line: the list may be another one by now.
        self._web.append(viewer)

    async def _watch(self) -> None:
        with contextlib.suppress(*EXPECTED):
            async with self._studio.api() as api:
                async for _ in api.experiments.watch(WatchRequest(experiment=EXPERIMENT)):
                    self.counts["messages"] += 1

    async def _leave(self, count: int) -> None:
        going, staying = self._web[: count // 2 + 1], self._web[count // 2 + 1 :]
        for viewer in going + [viewer for viewer in staying if viewer.ended]:
            viewer.close()
        self._web = [viewer for viewer in staying if not viewer.ended]
        leaving = list(itertools.islice(self._grpc, count // 2 + 1))
        for task in leaving:
            task.cancel()
        await asyncio.gather(*leaving, return_exceptions=True)

    async def restart(self, name: str) -> None:
        """Kill a part and start it again."""
        await asyncio.to_thread(self._studio.processes[name].kill)
        await asyncio.to_thread(self._studio.start_one, name)
        self.counts["restarts"] += 1

    def go_on(self) -> None:
        self._busy.set()

    async def look(self) -> dict[str, float]:
        """What the gateway holds when everybody has left."""
        self._busy.clear()
        process = psutil.Process(self._studio.processes["gateway"].pid)
        async with asyncio.timeout(90), httpx.AsyncClient(timeout=20) as http:
            url = f"http://127.0.0.1:{self._studio.admin_port}/metrics"
            while True:
                # One may have been on its way here.
                await self._leave(10 * VIEWERS)
                text = (await http.get(url)).text
                held = {
                    name: float(value)
                    for name, value in re.findall(r"^wl_gateway_(\w+) ([\d.e+]+)$", text, re.MULTILINE)
                }
                if held["viewers"] == 0 and held["connections"] == 0:
                    break
                await asyncio.sleep(0.5)
            # Hubs that nobody watches end a moment after their last viewer.
            await asyncio.sleep(3)
            text = (await http.get(url)).text
        tasks = re.search(r"^wl_gateway_tasks ([\d.]+)$", text, re.MULTILINE)
        assert tasks
        return {
            "rss_bytes": process.memory_info().rss - held["media_cache_bytes"],
            "tasks": float(tasks[1]),
            "descriptors": process.num_fds(),
        }

    def _http(self) -> httpx.AsyncClient:
        url = f"http://127.0.0.1:{self._studio.web_port}"
        return httpx.AsyncClient(base_url=url, headers={"authorization": f"Bearer {TOKEN}"}, timeout=20)


async def soak(studio: Studio, minutes: float) -> dict[str, Any]:
    """Ten stretches, with a restart in the middle and a look at the end of each."""
    going = Soak(studio)
    tasks = [asyncio.create_task(going.people()) for _ in range(PEOPLE)] + [asyncio.create_task(going.come_and_go())]
    seen = []
    stretch_secs = minutes * 60 / LOOKS
    try:
        for number in range(LOOKS):
            going.go_on()
            began = time.monotonic()
            await asyncio.sleep(stretch_secs / 2)
            await going.restart(RESTARTED[number % len(RESTARTED)])
            await asyncio.sleep(max(0.0, stretch_secs - (time.monotonic() - began)))
            seen.append(await going.look())
            print(number, seen[-1], going.counts, flush=True)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    warm = seen[LOOKS // 5 - 1 :]
    return {
        "minutes": minutes,
        "went_on": going.counts,
        "looks": seen,
        "after_warming_up": {
            "rss_growth_percent": round(100 * (warm[-1]["rss_bytes"] / warm[0]["rss_bytes"] - 1), 2),
            "rss_spread_percent": round(
                100 * (max(s["rss_bytes"] for s in warm) / min(s["rss_bytes"] for s in warm) - 1), 2
            ),
            "task_growth": warm[-1]["tasks"] - warm[0]["tasks"],
            "descriptor_growth": warm[-1]["descriptors"] - warm[0]["descriptors"],
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20.0)
    minutes = parser.parse_args().minutes
    with tempfile.TemporaryDirectory() as folder, running_studio(Path(folder)) as studio:
        result = asyncio.run(soak(studio, minutes)) | {"machine": machine()}
    text = json.dumps(result, indent=2) + "\n"
    Path(__file__).with_suffix(".json").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
