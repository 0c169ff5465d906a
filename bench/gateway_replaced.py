"""A gateway that dies under load, and how soon its viewers are back.

Run: python bench/gateway_replaced.py   writes gateway_replaced.json beside itself.

The whole studio of the demo as real processes, training; so many viewers follow every curve, the gateway is killed and
another started at once. A viewer is back when new points have reached it. Counted from the kill, and from when the new
gateway listens. At the end every viewer must hold exactly what the ledger stores.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tests.support.following import Curves, assert_same_as_stored, follow_through  # noqa: E402
from tests.support.gateway_bench import machine  # noqa: E402
from tests.support.running import running_studio  # noqa: E402
from tests.support.studio import Studio  # noqa: E402

VIEWERS = 30
TIMES = 5


async def measure(studio: Studio) -> dict[str, Any]:
    """Seconds until each viewer is back, of all replacements."""
    viewers = [Curves() for _ in range(VIEWERS)]
    grew: list[list[float]] = [[] for _ in viewers]
    following = [
        asyncio.create_task(follow_through(studio, curves, grew=times, more_points=10**9))
        for curves, times in zip(viewers, grew, strict=True)
    ]
    await asyncio.gather(*(curves.grew.wait() for curves in viewers))
    since_kill: list[float] = []
    since_listening: list[float] = []
    for _ in range(TIMES):
        await asyncio.sleep(1)
        await asyncio.to_thread(studio.processes["gateway"].kill)
        killed = time.monotonic()
        for curves, times in zip(viewers, grew, strict=True):
            curves.grew.clear()
            times.clear()
        await asyncio.to_thread(studio.start_one, "gateway")
        listening = time.monotonic()
        await asyncio.gather(*(curves.grew.wait() for curves in viewers))
        since_kill += [times[0] - killed for times in grew]
        since_listening += [max(0.0, times[0] - listening) for times in grew]
    for task in following:
        task.cancel()
    await asyncio.gather(*following, return_exceptions=True)
    for curves in viewers:
        await assert_same_as_stored(studio, curves)
    return {
        "viewers": VIEWERS,
        "replacements": TIMES,
        "back_after_listening_secs": _spread(since_listening),
        "back_after_kill_secs": _spread(since_kill),
        "lost_or_doubled_points": 0,
    }


def _spread(secs: list[float]) -> dict[str, float]:
    return {f"p{percent}": round(float(np.percentile(secs, percent)), 2) for percent in (50, 99, 100)}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, running_studio(Path(folder)) as studio:
        result = asyncio.run(measure(studio)) | {"machine": machine()}
    text = json.dumps(result, indent=2) + "\n"
    Path(__file__).with_suffix(".json").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
