"""The gateway's speed: gRPC-Web beside gRPC on the same method, and from the ledger's word to many viewers.

Run: python bench/gateway_speed.py [--viewers 1,100,500]   writes gateway_speed.json beside itself.

A real NATS and a real gateway process; the ledger's side of the bus and the clients are in this process, so that what
is measured is the gateway together with its clients: grpcio for gRPC, a bare HTTP/1.1 client for gRPC-Web.
With hundreds of viewers most of the latency is this process decoding what it got.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import struct
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc.aio
import numpy as np
import psutil
from weightslab_common import embedded, subjects
from weightslab_common.bus import Bus
from weightslab_common.columns import F64, I64, pack
from weightslab_proto.grpc.health.v1 import HealthCheckRequest
from weightslab_proto.weightslab.bus.v1 import (
    LedgerExperiment,
    LedgerHealthRequest,
    LedgerHealthResponse,
    ListLedgerExperimentsRequest,
    ListLedgerExperimentsResponse,
    LiveUpdate,
)
from weightslab_proto.weightslab.v1 import (
    CurveDelta,
    CurveKey,
    ListSignalsRequest,
    ListSignalsResponse,
    Mode,
    RunStatus,
    WatchRequest,
    WatchResponse,
)

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tests.support.processes import Process, accepts, wait_until  # noqa: E402

TOKEN = "token-of-the-bench"
EXPERIMENT = "bench"
CHECK = "/grpc.health.v1.Health/Check"
WATCH = "/weightslab.v1.ExperimentService/Watch"
CALLS_PER_ROUND = 400
ROUNDS = 10
LIVE_HZ = 10
WATCHED_SECS = 8.0


class WebConnection:
    """One HTTP/1.1 connection that speaks gRPC-Web, no more than that: a library would be measured, too."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int) -> WebConnection:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def start(self, path: str, request: bytes) -> None:
        body = struct.pack(">BI", 0, len(request)) + request
        self._writer.write(
            f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/grpc-web+proto\r\n"
            f"authorization: Bearer {TOKEN}\r\ncontent-length: {len(body)}\r\n\r\n".encode()
            + body
        )
        head = await self._reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head

    async def chunk(self) -> bytes:
        """The next chunk of the body, which is a frame; empty at the end."""
        size = int(await self._reader.readuntil(b"\r\n"), 16)
        return (await self._reader.readexactly(size + 2))[:-2]

    async def unary(self, path: str, request: bytes) -> None:
        await self.start(path, request)
        last = b""
        while chunk := await self.chunk():
            last = chunk
        assert b"grpc-status: 0\r\n" in last, last

    def close(self) -> None:
        self._writer.close()


async def _timed(call: Callable[[], Awaitable[None]]) -> list[float]:
    """Milliseconds of each of so many calls, one after the other."""
    times = []
    for _ in range(CALLS_PER_ROUND):
        started = time.perf_counter()
        await call()
        times.append((time.perf_counter() - started) * 1000)
    return times


async def transports(grpc_port: int, web_port: int) -> dict[str, object]:
    """The same unary method over both, in alternating rounds."""
    request = bytes(HealthCheckRequest())
    web = await WebConnection.open(web_port)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{grpc_port}") as channel:
        check = channel.unary_unary(CHECK)

        async def by_grpc() -> None:
            await check(request)

        async def by_web() -> None:
            await web.unary(CHECK, request)

        await _timed(by_grpc)
        await _timed(by_web)
        rounds = [(await _timed(by_grpc), await _timed(by_web)) for _ in range(ROUNDS)]
    web.close()
    native, translated = (np.concatenate(times) for times in zip(*rounds, strict=True))
    ratios = [sum(native_times) / sum(web_times) for native_times, web_times in rounds]
    return {
        "grpc_ms": {"p50": _percentile(native, 50), "p99": _percentile(native, 99)},
        "grpc_web_ms": {"p50": _percentile(translated, 50), "p99": _percentile(translated, 99)},
        "added_ms": {
            "p50": round(_percentile(translated, 50) - _percentile(native, 50), 3),
            "p99": round(_percentile(translated, 99) - _percentile(native, 99), 3),
        },
        "throughput_ratio": {
            "median": round(float(np.median(ratios)), 3),
            "min": round(min(ratios), 3),
            "max": round(max(ratios), 3),
        },
    }


class Ledger:
    """The ledger's side of the bus: says a new point of each of four curves ten times a second."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._keys = [CurveKey(branch="main", signal=f"s{number}", mode=Mode.TRAIN) for number in range(4)]
        self._count = 0

    async def start(self) -> None:
        async def held(request: ListLedgerExperimentsRequest) -> ListLedgerExperimentsResponse:
            return ListLedgerExperimentsResponse(experiments=[LedgerExperiment(experiment=EXPERIMENT)])

        async def health(request: LedgerHealthRequest) -> LedgerHealthResponse:
            return LedgerHealthResponse(store_connected=True)

        async def signals(request: ListSignalsRequest) -> ListSignalsResponse:
            return ListSignalsResponse()

        await self._bus.serve(subjects.ledger(subjects.ALL_EXPERIMENTS, "list"), ListLedgerExperimentsRequest, held)
        await self._bus.serve(subjects.ledger(EXPERIMENT, "health"), LedgerHealthRequest, health)
        await self._bus.serve(subjects.ledger(EXPERIMENT, "list_signals"), ListSignalsRequest, signals)

    async def speak(self) -> None:
        """A point's value is the time at which it was said."""
        while True:
            values = pack([time.time()], F64)
            steps = pack([self._count], I64)
            curves = [
                CurveDelta(key=key, first_ordinal=self._count, steps=steps, values=values, point_count=self._count + 1)
                for key in self._keys
            ]
            self._count += 1
            await self._bus.publish(
                subjects.subject(EXPERIMENT, subjects.LIVE), LiveUpdate(curves=curves, ledger_id="l")
            )
            if self._count % LIVE_HZ == 0:
                status = RunStatus(experiment=EXPERIMENT, run_id="r", sequence=self._count)
                await self._bus.publish(subjects.subject(EXPERIMENT, subjects.STATUS), status)
            await asyncio.sleep(1 / LIVE_HZ)


async def _view(port: int, until: float, latencies_ms: list[float]) -> bool:
    """Read one stream; returns whether it was still alive at the end."""
    connection = await WebConnection.open(port)
    await connection.start(WATCH, bytes(WatchRequest(experiment=EXPERIMENT)))
    first = True
    try:
        while time.time() < until:
            chunk = await connection.chunk()
            arrived = time.time()
            if not chunk or chunk[0]:
                return False
            curves = WatchResponse().parse(chunk[5:]).curves
            if not first and curves and curves[0].values:
                latencies_ms.append((arrived - float(np.frombuffer(curves[0].values, F64)[-1])) * 1000)
            first = False
        return True
    finally:
        connection.close()


async def viewers(count: int, port: int, gateway: psutil.Process) -> dict[str, object]:
    """Latency from the ledger's word to so many viewers, and what they cost."""
    latencies_ms: list[float] = []
    memory_before, cpu_before, started = gateway.memory_info().rss, sum(gateway.cpu_times()[:2]), time.time()
    until = started + WATCHED_SECS
    alive = asyncio.gather(*(_view(port, until, latencies_ms) for _ in range(count)))
    await asyncio.sleep(WATCHED_SECS * 0.9)
    memory_bytes = gateway.memory_info().rss - memory_before
    outcome = await alive
    cpu_secs = sum(gateway.cpu_times()[:2]) - cpu_before
    times = np.array(latencies_ms)
    return {
        "viewers": count,
        "latency_ms": {"p50": _percentile(times, 50), "p99": _percentile(times, 99)},
        "messages": len(times),
        "dropped": outcome.count(False),
        "gateway_cpu_percent": round(100 * cpu_secs / (time.time() - started), 1),
        "memory_per_viewer_bytes": memory_bytes // count,
    }


def _percentile(values: np.ndarray[Any, Any], percent: float) -> float:
    return round(float(np.percentile(values, percent)), 3)


async def _measure(ports: dict[str, int], nats_url: str, counts: list[int], pid: int) -> dict[str, object]:
    bus = await Bus.connect(nats_url, name="bench")
    ledger = Ledger(bus)
    await ledger.start()
    result: dict[str, object] = {"transports": await transports(ports["GRPC_BACKEND_PORT"], ports["ENVOY_PORT"])}
    speaking = asyncio.create_task(ledger.speak())
    process = psutil.Process(pid)
    result["watch"] = [await viewers(count, ports["ENVOY_PORT"], process) for count in counts]
    speaking.cancel()
    await asyncio.gather(speaking, return_exceptions=True)
    await bus.close()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--viewers", default="1,100,500")
    counts = [int(count) for count in parser.parse_args().viewers.split(",")]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        nats_port = embedded.free_port()
        nats_url = f"nats://127.0.0.1:{nats_port}"
        ports = {name: embedded.free_port() for name in ("GRPC_BACKEND_PORT", "ENVOY_PORT", "ENVOY_ADMIN_PORT")}
        nats = Process(embedded.nats_command(Path(folder) / "nats", port=nats_port), log=Path(folder) / "nats.log")
        environment = {"WL_NATS_URL": nats_url, "WL_TOKEN": TOKEN, "WL_DATA_DIR": folder}
        environment |= {name: str(port) for name, port in ports.items()}
        gateway = Process(
            [sys.executable, "-m", "weightslab_gateway"], log=Path(folder) / "gateway.log", environment=environment
        )
        for process, port in ((nats, nats_port), (gateway, ports["ENVOY_PORT"])):
            process.start()
            stack.callback(process.stop)
            wait_until(lambda port=port: accepts(port), what=f"port {port} answers")  # type: ignore[misc]
        result = asyncio.run(_measure(ports, nats_url, counts, gateway.pid))
    result["machine"] = {"cores": os.cpu_count(), "load_1min": round(os.getloadavg()[0], 1)}
    text = json.dumps(result, indent=2) + "\n"
    Path(__file__).with_suffix(".json").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
