"""Bus, store, ledger and gateway as processes on a core of their own, and viewers that read from them."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
from grpclib.client import Channel
from weightslab_common.embedded import free_port, nats_command, store_command
from weightslab_proto.weightslab.v1 import ExperimentServiceStub, WatchRequest

from bench.training.loop import EXPERIMENT, SAMPLE_COUNT

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "token-of-the-bench"
START_SECS = 120.0
STOP_SECS = 30.0
PAGE_SECS = 1.0


def cores() -> tuple[int | None, int | None]:
    """One for the training and one for everything else; none when there is one only."""
    found = sorted(os.sched_getaffinity(0))
    return (found[0], found[1]) if len(found) > 1 else (None, None)


def pin(pid: int, core: int | None) -> None:
    """Keep a process and all its threads on a core."""
    if core is None:
        return
    for thread in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(thread), {core})


@dataclass
class Services:
    """What runs, and how to reach it."""

    environment: dict[str, str]
    grpc_port: int
    http_port: int
    core: int | None
    folder: Path
    processes: dict[str, subprocess.Popen[bytes]]
    commands: dict[str, list[str]]

    def start(self, name: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(self.commands[name], env=self.environment, stdout=log, stderr=log, cwd=ROOT)
        pin(process.pid, self.core)
        self.processes[name] = process

    def kill(self, name: str) -> None:
        process = self.processes.pop(name)
        process.kill()
        process.wait()


@contextlib.contextmanager
def services(folder: Path) -> Iterator[Services]:
    nats_port, store_port, grpc_port, http_port = (free_port() for _ in range(4))
    environment = {
        **os.environ,
        "WL_NATS_URL": f"nats://127.0.0.1:{nats_port}",
        "WL_REDIS_URL": f"redis://127.0.0.1:{store_port}",
        "WL_DATA_DIR": str(folder / "data"),
        "WL_TOKEN": TOKEN,
        "GRPC_BACKEND_PORT": str(grpc_port),
        "ENVOY_PORT": str(http_port),
        "ENVOY_ADMIN_PORT": str(free_port()),
        "OMP_NUM_THREADS": "1",
    }
    commands = {
        "nats": nats_command(folder / "nats", port=nats_port),
        "store": store_command(folder / "store", port=store_port),
        "ledger": [sys.executable, "-m", "weightslab_ledger"],
        "gateway": [sys.executable, "-m", "weightslab_gateway"],
    }
    running = Services(environment, grpc_port, http_port, cores()[1], folder, {}, commands)
    try:
        for name in commands:
            running.start(name)
        asyncio.run(_answering(grpc_port))
        yield running
    finally:
        for process in reversed(running.processes.values()):
            process.terminate()
        for process in running.processes.values():
            process.wait(STOP_SECS)


async def _answering(port: int) -> None:
    end = time.monotonic() + START_SECS
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        except OSError:
            if time.monotonic() > end:
                raise TimeoutError(f"the gateway does not listen on {port}") from None
            await asyncio.sleep(0.1)


@contextlib.contextmanager
def viewers(count: int, parts: Services, *, images: int) -> Iterator[subprocess.Popen[bytes]]:
    """So many viewers in a process of their own: each follows the run, and turns a page of `images` every second."""
    given = [str(number) for number in (count, images, parts.grpc_port, parts.http_port)]
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.training.services", *given], stdout=subprocess.PIPE, cwd=ROOT
    )
    pin(process.pid, parts.core)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"watching\n", "the viewers did not get their first page"
        yield process
    finally:
        process.terminate()
        process.wait(STOP_SECS)


async def watch(count: int, *, images: int, grpc_port: int, http_port: int) -> None:
    """View for ever; say so when each viewer has had a message and a page."""
    first = asyncio.Semaphore(0)

    async def follow() -> None:
        stub = ExperimentServiceStub(Channel("127.0.0.1", grpc_port), metadata={"authorization": f"Bearer {TOKEN}"})
        async for _ in stub.watch(WatchRequest(experiment=EXPERIMENT)):
            first.release()

    async def turn_pages(start: int) -> None:
        url = f"http://127.0.0.1:{http_port}/media/{EXPERIMENT}/train/"
        async with httpx.AsyncClient(headers={"authorization": f"Bearer {TOKEN}"}, timeout=60) as client:
            for page in itertools.count(start, step=images):
                begun = time.monotonic()
                uids = [(page + number) % SAMPLE_COUNT for number in range(images)]
                await asyncio.gather(*(client.get(f"{url}{uid}?w=64") for uid in uids))
                first.release()
                await asyncio.sleep(max(0.0, PAGE_SECS - (time.monotonic() - begun)))

    tasks = [asyncio.create_task(follow()) for _ in range(count)]
    if images:
        tasks += [asyncio.create_task(turn_pages(number * SAMPLE_COUNT // count)) for number in range(count)]
    for _ in tasks:
        await first.acquire()
    print("watching", flush=True)
    await asyncio.gather(*tasks)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("count", "images", "grpc_port", "http_port"):
        parser.add_argument(name, type=int)
    given = parser.parse_args()
    asyncio.run(watch(given.count, images=given.images, grpc_port=given.grpc_port, http_port=given.http_port))
