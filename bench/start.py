"""How long `make demo` takes from the command to the first live curve: a first start beside a second one.

Run: python bench/start.py [--rounds 4]   writes start.json beside itself.

A first start has a new data folder; a second one finds what a Ctrl-C has left of the first. Everything is installed and
the page is built. The address is printed once the ledger has told of the first points of a curve, so that whoever opens
it sees one. Beside the time by the clock stands what all processes have used of the processors until then, which other
work on the machine changes little.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import psutil
from weightslab_common.embedded import free_ports

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tests.support.processes import Process, wait_until  # noqa: E402

RESULT = Path(__file__).with_suffix(".json")
TARGET_SECS = 10.0
ADDRESS = re.compile(r"/#login=\S+")
READY = re.compile(r"^  (\S.*?) +(?:ready|started) +(\d+\.\d) s$", re.M)
PORT_FLAGS = ("--page-port", "--web-port", "--admin-port", "--grpc-port", "--console-port")


class Start(NamedTuple):
    """Seconds to the first curve by the clock and of the processors, and to each service's readiness."""

    wall_secs: float
    cpu_secs: float
    ready_secs: dict[str, float]


def _cpu_secs(pid: int) -> float:
    """What a process and all it has started have used of the processors, those that have ended included."""
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return sum(sum(process.cpu_times()[:4]) for process in family if process.is_running())


def start(folder: Path, ports: list[int]) -> Start:
    """Start the demo as a user does, wait for the address, end it by Ctrl-C."""
    flags = [text for flag, port in zip(PORT_FLAGS, ports, strict=True) for text in (flag, str(port))]
    arguments = " ".join(["--no-browser", "--data-dir", str(folder / "data"), *flags])
    log = folder / "log"
    log.unlink(missing_ok=True)
    demo = Process(["make", "-C", str(ROOT), "demo", f"PYTHON={sys.executable}", f"ARGS={arguments}"], log=log)
    began = time.monotonic()
    demo.start()
    try:
        wait_until(lambda: bool(ADDRESS.search(demo.output())) or not demo.running, what="an address", timeout_secs=120)
        wall_secs = time.monotonic() - began
        assert demo.running, demo.output()
        assert "no curve has come yet" not in demo.output(), demo.output()
        cpu_secs = _cpu_secs(demo.pid)
        ready = {name: float(secs) for name, secs in READY.findall(demo.output())}
        return Start(wall_secs, cpu_secs, ready)
    finally:
        # A terminal sends Ctrl-C to make and the studio alike.
        os.killpg(demo.pid, signal.SIGINT)
        demo.signal(signal.SIGINT)


def _spread(values: list[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), 2),
        "min": round(min(values), 2),
        "max": round(max(values), 2),
    }


def _described(starts: list[Start]) -> dict[str, object]:
    return {
        "wall_secs": _spread([measured.wall_secs for measured in starts]),
        "cpu_secs": _spread([measured.cpu_secs for measured in starts]),
        "ready_secs": {
            name: _spread([measured.ready_secs[name] for measured in starts]) for name in starts[0].ready_secs
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=4)
    rounds = parser.parse_args().rounds
    # Told to end, it ends what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to end"))
    first: list[Start] = []
    second: list[Start] = []
    load_before = os.getloadavg()[0]
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            ports = free_ports(len(PORT_FLAGS))
            for which, starts in (("first", first), ("second", second)):
                starts.append(start(Path(folder), ports))
                print(
                    f"round {number + 1}, {which}: {starts[-1].wall_secs:.1f} s, of the processors "
                    f"{starts[-1].cpu_secs:.1f} s",
                    flush=True,
                )
    ratios = [later.wall_secs / earlier.wall_secs for earlier, later in zip(first, second, strict=True)]
    worst = max(measured.wall_secs for measured in second)
    result = {
        "rounds": rounds,
        "first": _described(first),
        "second": _described(second),
        "second_to_first": _spread(ratios),
        "target": {"second_start_secs": TARGET_SECS, "worst_secs": round(worst, 2), "met": worst < TARGET_SECS},
        "machine": {
            "cpus": os.cpu_count(),
            "load_average_before": round(load_before, 1),
            "load_average_after": round(os.getloadavg()[0], 1),
            "python": platform.python_version(),
            "system": platform.platform(terse=True),
        },
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result["target"]))


if __name__ == "__main__":
    main()
