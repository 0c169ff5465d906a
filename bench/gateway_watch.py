"""From the ledger's word to many viewers, ten times a second; and what each viewer costs the gateway.

Run: python bench/gateway_watch.py [--viewers 1,100,500]   writes gateway_watch.json beside itself.

A real NATS and a real gateway process; this process speaks as the ledger and reads as all viewers, so on two cores it
has one and the gateway and NATS have the other. Most of what many viewers wait for is this process reading.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from weightslab_common.columns import F64
from weightslab_proto.weightslab.v1 import WatchResponse

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tests.support.gateway_bench import (  # noqa: E402
    EXPERIMENT,
    LIVE_HZ,
    TOKEN,
    BenchedGateway,
    benched_gateway,
    machine,
    speaking_ledger,
)
from tests.support.web_viewers import open_viewer  # noqa: E402

WATCHED_SECS = 15.0


class Latencies:
    """Milliseconds from when a point was said to when a viewer had it."""

    def __init__(self) -> None:
        self.ms: list[float] = []
        self.taken = False
        # Viewers get the same bytes, which are read once.
        self._said: dict[bytes, float | None] = {}

    def take(self, message: bytes, at: float) -> None:
        if not self.taken:
            return
        if message not in self._said:
            if len(self._said) > 1000:
                self._said.clear()
            curves = WatchResponse().parse(message).curves
            values = curves[0].values if curves else b""
            self._said[message] = float(np.frombuffer(values, F64)[-1]) if values else None
        said = self._said[message]
        if said is not None:
            self.ms.append((at - said) * 1000)


async def viewers(count: int, gateway: BenchedGateway) -> dict[str, Any]:
    """Open so many, let them settle, then watch for a while."""
    process, latencies = gateway.process, Latencies()
    memory_before = process.memory_info().rss
    opened = [
        await open_viewer(gateway.web_port, EXPERIMENT, token=TOKEN, on_message=latencies.take) for _ in range(count)
    ]
    # Nothing tells when the last of them has read.
    while not all(viewer.message_count >= 3 for viewer in opened):  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    memory_bytes = process.memory_info().rss - memory_before
    messages_before = sum(viewer.message_count for viewer in opened)
    cpu_before, started, latencies.taken = sum(process.cpu_times()[:2]), time.monotonic(), True
    await asyncio.sleep(WATCHED_SECS)
    latencies.taken = False
    secs, cpu_secs = time.monotonic() - started, sum(process.cpu_times()[:2]) - cpu_before
    messages = sum(viewer.message_count for viewer in opened) - messages_before
    dropped = sum(viewer.ended for viewer in opened)
    for viewer in opened:
        viewer.close()
    await asyncio.sleep(0.5)
    times = np.array(latencies.ms)
    return {
        "viewers": count,
        "latency_ms": {f"p{percent}": round(float(np.percentile(times, percent)), 1) for percent in (50, 95, 99, 100)},
        "messages_per_sec_and_viewer": round(messages / secs / count, 2),
        "dropped": dropped,
        "gateway_cpu_percent": round(100 * cpu_secs / secs, 1),
        "cpu_percent_per_viewer": round(100 * cpu_secs / secs / count, 3),
        "memory_per_viewer_bytes": memory_bytes // count,
    }


async def measure(gateway: BenchedGateway, counts: list[int]) -> list[dict[str, Any]]:
    async with speaking_ledger(gateway.nats_url):
        # What the first viewers make it load is not theirs.
        await viewers(10, gateway)
        return [await viewers(count, gateway) for count in counts]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--viewers", default="1,100,500")
    counts = [int(count) for count in parser.parse_args().viewers.split(",")]
    with benched_gateway() as gateway:
        rows = asyncio.run(measure(gateway, counts))
    result = {"live_hz": LIVE_HZ, "watched_secs": WATCHED_SECS, "watch": rows, "machine": machine()}
    text = json.dumps(result, indent=2) + "\n"
    Path(__file__).with_suffix(".json").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
