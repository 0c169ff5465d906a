"""The gateway's own gRPC-Web beside native gRPC and beside Envoy before the same gateway, on the same method.

Run: python bench/gateway_transports.py   writes gateway_transports.json beside itself.

A real gateway process, a real Envoy with the configuration that compose ships; `grpc.health.v1.Health/Check`, whose
handler does nothing, so that the transport is what is measured. gRPC is called by grpcio, gRPC-Web by a bare HTTP/1.1
client. Rounds of all three alternate; `throughput` is with eight calls at once on as many connections.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc.aio
import numpy as np
from weightslab_proto.grpc.health.v1 import HealthCheckRequest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tests.support.envoy import running_envoy  # noqa: E402
from tests.support.gateway_bench import TOKEN, BenchedGateway, benched_gateway, machine  # noqa: E402
from tests.support.web_viewers import WebConnection, request_bytes  # noqa: E402

CHECK = "/grpc.health.v1.Health/Check"
CALLS = 200
AT_ONCE = 8
ROUNDS = 15
WAYS = ("grpc", "own_grpc_web", "envoy_grpc_web")

Call = Callable[[], Awaitable[object]]


async def _latencies_ms(call: Call) -> list[float]:
    times = []
    for _ in range(CALLS):
        started = time.perf_counter()
        await call()
        times.append((time.perf_counter() - started) * 1000)
    return times


async def _calls_per_sec(calls: list[Call]) -> float:
    async def many(call: Call) -> None:
        for _ in range(CALLS // AT_ONCE):
            await call()

    started = time.perf_counter()
    await asyncio.gather(*(many(call) for call in calls))
    return CALLS // AT_ONCE * len(calls) / (time.perf_counter() - started)


async def _by_web(port: int, connections: list[WebConnection]) -> list[Call]:
    request = request_bytes(CHECK, bytes(HealthCheckRequest()), token=TOKEN)
    opened = [await WebConnection.open(port) for _ in range(AT_ONCE)]
    connections += opened
    return [lambda connection=connection: connection.unary(request) for connection in opened]  # type: ignore[misc]


async def measure(gateway: BenchedGateway, envoy_port: int) -> dict[str, Any]:
    """Latencies and throughputs of the three ways, in alternating rounds."""
    connections: list[WebConnection] = []
    request = bytes(HealthCheckRequest())
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.grpc_port}") as channel:
        check = channel.unary_unary(CHECK)
        calls: dict[str, list[Call]] = {
            "grpc": [lambda: check(request)] * AT_ONCE,
            "own_grpc_web": await _by_web(gateway.web_port, connections),
            "envoy_grpc_web": await _by_web(envoy_port, connections),
        }
        times: dict[str, list[list[float]]] = {way: [] for way in WAYS}
        rates: dict[str, list[float]] = {way: [] for way in WAYS}
        for number in range(ROUNDS + 1):
            for way in WAYS[number % 3 :] + WAYS[: number % 3]:
                latencies, rate = await _latencies_ms(calls[way][0]), await _calls_per_sec(calls[way])
                # The first round warms up.
                if number:
                    times[way].append(latencies)
                    rates[way].append(rate)
    for connection in connections:
        connection.close()
    return {
        "latency_ms": {way: _percentiles(np.concatenate(times[way])) for way in WAYS},
        "calls_per_sec": {way: round(float(np.median(rates[way]))) for way in WAYS},
        "own_against_grpc": _against(times, rates, "own_grpc_web", "grpc"),
        "own_against_envoy": _against(times, rates, "own_grpc_web", "envoy_grpc_web"),
    }


def _against(
    times: dict[str, list[list[float]]], rates: dict[str, list[float]], one: str, other: str
) -> dict[str, Any]:
    """What `one` adds to `other`, per round, and the ratio of their throughputs."""
    added = {
        f"added_p{percent}_ms": _spread(
            [
                float(np.percentile(ours, percent) - np.percentile(theirs, percent))
                for ours, theirs in zip(times[one], times[other], strict=True)
            ]
        )
        for percent in (50, 99)
    }
    ratios = [ours / theirs for ours, theirs in zip(rates[one], rates[other], strict=True)]
    return {**added, "throughput_ratio": _spread(ratios)}


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": round(float(np.median(values)), 3), "min": round(min(values), 3), "max": round(max(values), 3)}


def _percentiles(values: np.ndarray[Any, Any]) -> dict[str, float]:
    return {f"p{percent}": round(float(np.percentile(values, percent)), 3) for percent in (50, 99)}


def main() -> None:
    with (
        benched_gateway() as gateway,
        running_envoy(
            gateway.folder, grpc_port=gateway.grpc_port, web_port=gateway.web_port, origin="http://localhost:5173"
        ) as envoy_port,
    ):
        result = asyncio.run(measure(gateway, envoy_port))
    result["machine"] = machine()
    text = json.dumps(result, indent=2) + "\n"
    Path(__file__).with_suffix(".json").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
