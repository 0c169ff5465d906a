"""What watching costs: the same training steps plain and watched, in pairs, with and without viewers.

A small CNN on 28x28 images, batch 64, one torch thread; training on one core and the services on another where there
are two. Writes `overhead.json` beside itself.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
import weightslab as wl
from grpclib.client import Channel
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from weightslab_common.embedded import free_port, nats_command, store_command
from weightslab_proto.weightslab.v1 import ExperimentServiceStub, WatchRequest

RESULT = Path(__file__).with_suffix(".json")
EXPERIMENT = "overhead"
TOKEN = "token-of-the-bench"
SAMPLE_COUNT = 2048
BATCH_SIZE = 64
START_SECS = 30.0


class Cost(NamedTuple):
    """Milliseconds per step: by the clock, and on the processor in the training thread."""

    wall_ms: float
    cpu_ms: float


class Loop:
    """One training loop that can be run some steps at a time."""

    def __init__(self, *, watched: bool) -> None:
        torch.manual_seed(1)
        images = torch.randn(SAMPLE_COUNT, 1, 28, 28)
        dataset = TensorDataset(images, torch.randint(10, (SAMPLE_COUNT,)))
        self.loader: Any = DataLoader(dataset, batch_size=BATCH_SIZE, shuffle=True)
        self.model = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(32 * 7 * 7, 10),
        )
        self.optimizer: torch.optim.Optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01)
        self.criterion: Any = nn.CrossEntropyLoss()
        if watched:
            self.loader = wl.watch_loader(self.loader)
            wl.watch_model(self.model)
            wl.watch_optimizer(self.optimizer)
            self.criterion = wl.watch_loss(self.criterion)
        self._steps = self._train()

    def run(self, steps: int) -> Cost:
        wall, cpu = time.perf_counter(), time.thread_time()
        for _ in range(steps):
            next(self._steps)
        return Cost((time.perf_counter() - wall) / steps * 1e3, (time.thread_time() - cpu) / steps * 1e3)

    def _train(self) -> Iterator[None]:
        while True:
            for images, targets in self.loader:
                self.optimizer.zero_grad()
                self.criterion(self.model(images), targets).backward()
                self.optimizer.step()
                yield


def paired(plain: Loop, watched: Loop, *, rounds: int, steps: int) -> list[tuple[Cost, Cost]]:
    """The cost of each, in pairs whose order alternates."""
    pairs = []
    for number in range(rounds):
        first, second = (plain, watched) if number % 2 == 0 else (watched, plain)
        costs = {id(loop): loop.run(steps) for loop in (first, second)}
        pairs.append((costs[id(plain)], costs[id(watched)]))
    return pairs


def summary(pairs: list[tuple[Cost, Cost]], *, viewers: int) -> dict[str, Any]:
    """Ratios of the pairs. On a machine that does other work at the same time the processor's is the one to trust."""
    ratios = sorted(watched.wall_ms / plain.wall_ms for plain, watched in pairs)
    cpu_ratios = sorted(watched.cpu_ms / plain.cpu_ms for plain, watched in pairs)
    return {
        "viewers": viewers,
        "rounds": len(pairs),
        "plain_ms": round(statistics.median(plain.wall_ms for plain, _ in pairs), 3),
        "watched_ms": round(statistics.median(watched.wall_ms for _, watched in pairs), 3),
        "ratio_median": round(statistics.median(ratios), 4),
        "ratio_p5": round(_quantile(ratios, 0.05), 4),
        "ratio_p95": round(_quantile(ratios, 0.95), 4),
        "cpu_ratio_median": round(statistics.median(cpu_ratios), 4),
        "cpu_ratio_p5": round(_quantile(cpu_ratios, 0.05), 4),
        "cpu_ratio_p95": round(_quantile(cpu_ratios, 0.95), 4),
    }


def _quantile(ordered: list[float], share: float) -> float:
    return ordered[round(share * (len(ordered) - 1))]


def hand_off_microseconds(criterion: Any) -> dict[str, float]:
    """What a watched loss adds to a call on the training thread: 256 samples, cross-entropy over 10 classes."""
    logits, targets = torch.randn(256, 10), torch.randint(10, (256,))
    loader = wl.watch_loader(
        DataLoader(TensorDataset(torch.zeros(256, 1), targets), batch_size=256), split="handoff", train=False
    )
    added = []
    plain = nn.CrossEntropyLoss()
    for _ in loader:
        for number in range(3000):
            start = time.perf_counter()
            criterion(logits, targets)
            middle = time.perf_counter()
            plain(logits, targets)
            added.append(1e6 * ((middle - start) - (time.perf_counter() - middle)))
            if number % 100 == 0:
                # As in a loop, the publisher gets its turn.
                time.sleep(0.002)
    added.sort()
    return {"p50_us": round(added[len(added) // 2], 1), "p99_us": round(added[int(len(added) * 0.99)], 1)}


@contextlib.contextmanager
def services(folder: Path, core: int | None) -> Iterator[int]:
    """Bus, store, ledger and gateway as processes; gives the gateway's gRPC port."""
    nats_port, store_port, grpc_port = free_port(), free_port(), free_port()
    environment = {
        **os.environ,
        "WL_NATS_URL": f"nats://127.0.0.1:{nats_port}",
        "WL_REDIS_URL": f"redis://127.0.0.1:{store_port}",
        "WL_DATA_DIR": str(folder / "data"),
        "WL_TOKEN": TOKEN,
        "GRPC_BACKEND_PORT": str(grpc_port),
        "ENVOY_PORT": str(free_port()),
        "ENVOY_ADMIN_PORT": str(free_port()),
        "OMP_NUM_THREADS": "1",
    }
    os.environ.update({name: environment[name] for name in ("WL_NATS_URL", "WL_DATA_DIR")})
    commands = [
        nats_command(folder / "nats", port=nats_port),
        store_command(folder / "store", port=store_port),
        [sys.executable, "-m", "weightslab_ledger"],
        [sys.executable, "-m", "weightslab_gateway"],
    ]
    started: list[subprocess.Popen[bytes]] = []
    try:
        with (folder / "log").open("wb") as log:
            for command in commands:
                process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
                started.append(process)
                _pin(process.pid, core)
        asyncio.run(_answering(grpc_port))
        yield grpc_port
    finally:
        for process in reversed(started):
            process.terminate()
        for process in started:
            process.wait(20)


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
def viewers(count: int, port: int, core: int | None) -> Iterator[None]:
    """So many `Watch` streams, read by a process of their own."""
    command = [sys.executable, __file__, "--watch", str(count), "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    _pin(process.pid, core)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"watching\n", "the viewers did not get their first message"
        yield
    finally:
        process.terminate()
        process.wait(10)


async def watch(count: int, port: int) -> None:
    """Read `count` streams for ever; say so when each has had a message."""
    first = asyncio.Semaphore(0)

    async def view() -> None:
        channel = Channel("127.0.0.1", port)
        stub = ExperimentServiceStub(channel, metadata={"authorization": f"Bearer {TOKEN}"})
        seen = False
        async for _ in stub.watch(WatchRequest(experiment=EXPERIMENT)):
            if not seen:
                seen = True
                first.release()

    tasks = [asyncio.create_task(view()) for _ in range(count)]
    for _ in range(count):
        await first.acquire()
    print("watching", flush=True)
    await asyncio.gather(*tasks)


def _pin(pid: int, core: int | None) -> None:
    if core is not None:
        os.sched_setaffinity(pid, {core})


def measure(*, rounds: int, steps: int) -> dict[str, Any]:
    cores = sorted(os.sched_getaffinity(0))
    training_core, service_core = (cores[0], cores[1]) if len(cores) > 1 else (None, None)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name, services(Path(name), service_core) as port:
        plain, watched = Loop(watched=False), Loop(watched=True)
        wl.serve(serving_cli=False, experiment=EXPERIMENT)
        _pin(0, training_core)
        paired(plain, watched, rounds=2, steps=steps)
        results = [summary(paired(plain, watched, rounds=rounds, steps=steps), viewers=0)]
        with viewers(4, port, service_core):
            results.append(summary(paired(plain, watched, rounds=rounds, steps=steps), viewers=4))
        hand_off = hand_off_microseconds(watched.criterion)
        wl.stop()
    return {
        "machine": f"{platform.machine()}, {len(cores)} cores, Python {platform.python_version()}",
        "torch": torch.__version__,
        "steps_per_round": steps,
        "load_average": round(os.getloadavg()[0], 2),
        "step": results,
        "hand_off": hand_off,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--watch", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.watch:
        asyncio.run(watch(arguments.watch, arguments.port))
        return
    result = measure(rounds=arguments.rounds, steps=arguments.steps)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(f"{'viewers':>8} {'plain ms':>9} {'watched ms':>11} {'ratio':>7} {'5 % .. 95 %':>16} {'cpu ratio':>10}")
    for row in result["step"]:
        spread = f"{row['ratio_p5']:.3f} .. {row['ratio_p95']:.3f}"
        print(
            f"{row['viewers']:>8} {row['plain_ms']:>9.2f} {row['watched_ms']:>11.2f} "
            f"{row['ratio_median']:>7.3f} {spread:>16} {row['cpu_ratio_median']:>10.3f}"
        )
    print(f"a watched loss adds {result['hand_off']['p50_us']} µs (p99 {result['hand_off']['p99_us']} µs) to a call")


if __name__ == "__main__":
    main()
