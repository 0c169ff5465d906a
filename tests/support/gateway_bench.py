"""A real NATS and a real gateway process for benches of the gateway, and the ledger's side of the bus."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
from weightslab_common import embedded, subjects
from weightslab_common.bus import Bus
from weightslab_common.columns import F64, I64, pack
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
)

from tests.support.processes import Process, accepts, wait_until

TOKEN = "token-of-the-bench"
EXPERIMENT = "bench"
LIVE_HZ = 10


@dataclass(frozen=True, slots=True)
class BenchedGateway:
    """Where the gateway is reached, and its process."""

    nats_url: str
    grpc_port: int
    web_port: int
    admin_port: int
    process: psutil.Process
    folder: Path


@contextlib.contextmanager
def benched_gateway(**environment: str) -> Iterator[BenchedGateway]:
    """A gateway on a bus of its own."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        nats_port, grpc_port, web_port, admin_port = embedded.free_ports(4)
        nats_url = f"nats://127.0.0.1:{nats_port}"
        told = {
            "WL_NATS_URL": nats_url,
            "WL_TOKEN": TOKEN,
            "WL_DATA_DIR": name,
            "WL_MAX_CALLS_PER_SEC": "1000000",
            "GRPC_BACKEND_PORT": str(grpc_port),
            "ENVOY_PORT": str(web_port),
            "ENVOY_ADMIN_PORT": str(admin_port),
        }
        nats = Process(embedded.nats_command(folder / "nats", port=nats_port), log=folder / "nats.log")
        gateway = Process(
            [sys.executable, "-m", "weightslab_gateway"], log=folder / "gateway.log", environment=told | environment
        )
        for process, port in ((nats, nats_port), (gateway, web_port)):
            process.start()
            stack.callback(process.stop)
            wait_until(lambda port=port: accepts(port), what=f"port {port} answers", timeout_secs=60)  # type: ignore[misc]
        yield BenchedGateway(nats_url, grpc_port, web_port, admin_port, psutil.Process(gateway.pid), folder)


class SpeakingLedger:
    """The ledger's side of the bus: says a new point of each of four curves ten times a second.

    A point's value is the time at which it was said, in seconds since the epoch.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._keys = [CurveKey(branch="main", signal=f"s{number}", mode=Mode.TRAIN) for number in range(4)]
        self._count = 0

    async def start(self) -> None:
        async def held(request: ListLedgerExperimentsRequest) -> ListLedgerExperimentsResponse:
            return ListLedgerExperimentsResponse(
                experiments=[LedgerExperiment(experiment=EXPERIMENT)], store_connected=True
            )

        async def health(request: LedgerHealthRequest) -> LedgerHealthResponse:
            return LedgerHealthResponse(store_connected=True)

        async def signals(request: ListSignalsRequest) -> ListSignalsResponse:
            return ListSignalsResponse()

        await self._bus.serve(subjects.ledger(subjects.ALL_EXPERIMENTS, "list"), ListLedgerExperimentsRequest, held)
        await self._bus.serve(subjects.ledger(EXPERIMENT, "health"), LedgerHealthRequest, health)
        await self._bus.serve(subjects.ledger(EXPERIMENT, "list_signals"), ListSignalsRequest, signals)

    async def speak(self) -> None:
        """Until it is cancelled."""
        due = time.monotonic()
        while True:
            values = pack([time.time()], F64)
            steps = pack([self._count], I64)
            curves = [
                CurveDelta(key=key, first_ordinal=self._count, steps=steps, values=values, point_count=self._count + 1)
                for key in self._keys
            ]
            self._count += 1
            update = LiveUpdate(curves=curves, ledger_id="l")
            await self._bus.publish(subjects.subject(EXPERIMENT, subjects.LIVE), update)
            if self._count % LIVE_HZ == 0:
                status = RunStatus(experiment=EXPERIMENT, run_id="r", sequence=self._count)
                await self._bus.publish(subjects.subject(EXPERIMENT, subjects.STATUS), status)
            due = max(due + 1 / LIVE_HZ, time.monotonic())
            await asyncio.sleep(due - time.monotonic())


@contextlib.asynccontextmanager
async def speaking_ledger(nats_url: str) -> AsyncIterator[Bus]:
    """A ledger that speaks for as long as the context lasts; gives its bus."""
    bus = await Bus.connect(nats_url, name="bench")
    ledger = SpeakingLedger(bus)
    await ledger.start()
    speaking = asyncio.create_task(ledger.speak())
    try:
        yield bus
    finally:
        speaking.cancel()
        await asyncio.gather(speaking, return_exceptions=True)
        await bus.close()


def machine() -> dict[str, object]:
    """What a figure depends on besides the code."""
    return {"cores": os.cpu_count(), "load_1min": round(os.getloadavg()[0], 1)}
