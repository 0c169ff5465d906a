"""Very many SIGKILLs of what keeps edits: `python -m tests.faults.kill_points [--seed N] [--kills N] [--json PATH]`.

Only NATS, the store and a ledger run here, and clients ask the ledger over the bus, as gateways do; so a kill costs
less than a second, and random moments can be tried by the thousand. `tests.faults.kills` does it with everything.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import secrets
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import betterproto
from weightslab_common.bus import Bus
from weightslab_common.embedded import free_ports, nats_command, store_command
from weightslab_common.errors import Aborted, DeadlineExceeded, Unavailable
from weightslab_proto.weightslab.v1 import (
    Edit,
    EditOperation,
    EditSamplesResponse,
    ListEditsRequest,
    ListEditsResponse,
    QuerySamplesRequest,
    QuerySamplesResponse,
)

from tests.support.history import EditCall, History, Read, check
from tests.support.main_job import until
from tests.support.model import SampleModel, Wish
from tests.support.processes import Process, accepts, wait_until
from tests.unit.ledger.trainers import Client, Trainer, edit_request, samples

# The store is where an acknowledged edit must be; it is killed most of all.
WEIGHTS = {"store": 75, "nats": 18, "ledger": 7}
KILLS_PER_ROUND = 100
MAX_DELAY_SECS = 0.015
AGAIN_SHARE = 0.25
PATIENCE_SECS = 90.0
UIDS = [str(number) for number in range(200)]
TAGS = ("hard", "日本")
ReplyT = TypeVar("ReplyT", bound=betterproto.Message)
_AGAIN = (Unavailable, DeadlineExceeded, Aborted)


@dataclass(slots=True)
class Tally:
    """`recovery_secs`: from a kill to the next acknowledged edit, by the process that was killed alone."""

    kills: dict[str, int] = field(default_factory=lambda: dict.fromkeys(WEIGHTS, 0))
    recovery_secs: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in WEIGHTS})
    edits: int = 0
    reads: int = 0

    @property
    def count(self) -> int:
        return sum(self.kills.values())


class Core:
    """NATS, the store and a ledger, each a process."""

    def __init__(self, folder: Path) -> None:
        self.ports = dict(zip(("nats", "store"), free_ports(2), strict=True))
        self.nats_url = f"nats://127.0.0.1:{self.ports['nats']}"
        environment = {
            "WL_NATS_URL": self.nats_url,
            "WL_REDIS_URL": f"redis://127.0.0.1:{self.ports['store']}",
            "WL_DATA_DIR": str(folder / "data"),
        }
        commands = {
            "nats": nats_command(folder / "nats", port=self.ports["nats"]),
            "store": store_command(folder / "store", port=self.ports["store"]),
            "ledger": [sys.executable, "-m", "weightslab_ledger"],
        }
        self.processes = {
            name: Process(command, log=folder / f"{name}.log", environment=environment)
            for name, command in commands.items()
        }

    def start(self, name: str) -> None:
        self.processes[name].start()
        if name in self.ports:
            wait_until(lambda: accepts(self.ports[name]), what=f"{name} listens", timeout_secs=PATIENCE_SECS)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        try:
            for name in self.processes:
                self.start(name)
            yield
        finally:
            for process in reversed(self.processes.values()):
                process.stop(timeout_secs=30)


class Round:
    """Clients that edit and read while processes are killed, and what they saw."""

    def __init__(self, core: Core, client: Client, draw: random.Random, model: SampleModel) -> None:
        self.core = core
        self.client = client
        self.draw = draw
        self.model = model
        self.history = History(model.revision)
        self.acknowledged = 0
        self._stopping = False

    async def run(self, tally: Tally, kills: int) -> None:
        tasks = [asyncio.create_task(work) for work in (self._edit(), self._edit(), self._edit(), self._read())]
        try:
            goal = tally.count + kills
            while tally.count < goal:
                await self._kill(tally)
        finally:
            self._stopping = True
            await asyncio.gather(*tasks)
        log = await self._log()
        check(self.history, log, self.model)
        tally.edits += len(log)
        tally.reads += len(self.history.reads)

    async def _kill(self, tally: Tally) -> None:
        sent, killed = len(self.history.edits), list[str]()
        await until(lambda: _later(len(self.history.edits) > sent), what="an edit is sent", timeout_secs=PATIENCE_SECS)
        while not killed or self.draw.random() < AGAIN_SHARE:
            await asyncio.sleep(self.draw.uniform(0, MAX_DELAY_SECS))
            (victim,) = self.draw.choices(list(WEIGHTS), list(WEIGHTS.values()))
            await asyncio.to_thread(self.core.processes[victim].kill)
            tally.kills[victim] += 1
            killed.append(victim)
            await asyncio.to_thread(self.core.start, victim)
        # One answer may have been on its way already.
        began, goal = time.monotonic(), self.acknowledged + 2
        await until(lambda: _later(self.acknowledged >= goal), what=f"edits after {killed}", timeout_secs=PATIENCE_SECS)
        if len(killed) == 1:
            tally.recovery_secs[victim].append(time.monotonic() - began)

    async def _edit(self) -> None:
        while not self._stopping:
            chosen = self.draw.sample(UIDS, self.draw.randint(1, 6))
            operation = self.draw.choice([EditOperation.ADD_TAG, EditOperation.DISCARD, EditOperation.RESTORE])
            tag = self.draw.choice(TAGS) if operation is EditOperation.ADD_TAG else ""
            wish = Wish(operation, frozenset(("train", uid) for uid in chosen), tag)
            call = EditCall(uuid.uuid4().hex, wish, time.monotonic())
            self.history.edits.append(call)
            request = edit_request(operation, samples("train", *chosen), tag=tag, edit_id=call.edit_id)
            reply = await self._insist("edit_samples", request, EditSamplesResponse)
            call.ended, call.revision, call.changed_count = (
                time.monotonic(),
                reply.edit.revision,
                reply.edit.changed_count,
            )
            self.acknowledged += 1

    async def _read(self) -> None:
        while not self._stopping:
            began = time.monotonic()
            page = await self._insist(
                "query_samples", QuerySamplesRequest(filter="discarded", limit=1000), QuerySamplesResponse
            )
            seen = frozenset(("train", uid) for uid in page.uids)
            self.history.reads.append(Read(began, time.monotonic(), page.revision, None, seen))
            await asyncio.sleep(0.02)

    async def _insist(self, method: str, request: betterproto.Message, reply_type: type[ReplyT]) -> ReplyT:
        """Ask until there is an answer, as a client does that may ask again."""
        end = time.monotonic() + PATIENCE_SECS
        while True:
            try:
                return await self.client.ask(method, request, reply_type, timeout_secs=5)
            except _AGAIN as error:
                if time.monotonic() > end:
                    raise TimeoutError(f"{method}: not within {PATIENCE_SECS:g} s: {error}") from error
                await asyncio.sleep(0.01)

    async def _log(self) -> list[Edit]:
        found: list[Edit] = []
        while True:
            after = found[-1].revision if found else self.history.first
            page = await self._insist(
                "list_edits", ListEditsRequest(after_revision=after, limit=1000), ListEditsResponse
            )
            found += page.edits
            if len(page.edits) < 1000:
                return found


async def _later(condition: bool) -> bool:
    return condition


async def kill_many(core: Core, draw: random.Random, tally: Tally, *, kills: int, secs: float) -> None:
    """Rounds of kills, each checked at its end. Raises AssertionError, or TimeoutError when something stays away."""
    bus = await Bus.connect(core.nats_url, name="clients")
    try:
        await bus.ensure_streams()
        experiment = "kills"
        trainer, client = Trainer(bus, experiment), Client(bus, experiment)
        await trainer.register("train", UIDS)
        wanted = QuerySamplesRequest(limit=1)
        await client.until("query_samples", wanted, QuerySamplesResponse, lambda page: page.total == len(UIDS))
        model, began = SampleModel(), time.monotonic()
        while tally.count < kills and time.monotonic() - began < secs:
            await Round(core, client, draw, model).run(tally, min(KILLS_PER_ROUND, kills - tally.count))
            took = time.monotonic() - began
            print(f"{tally.count} kills, {tally.edits} edits, {tally.reads} reads, {took:.0f} s", flush=True)
    finally:
        await bus.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**32))
    parser.add_argument("--kills", type=int, default=2000)
    parser.add_argument("--secs", type=float, default=float("inf"), help="begin no round after so long")
    parser.add_argument("--json", type=Path, help="where to write what came of it")
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    tally, wrong = Tally(), ""
    with tempfile.TemporaryDirectory() as folder:
        core = Core(Path(folder))
        with core.running():
            try:
                work = kill_many(core, random.Random(given.seed), tally, kills=given.kills, secs=given.secs)
                asyncio.run(work)
            except (AssertionError, TimeoutError) as error:
                wrong = f"{type(error).__name__}: {error}"[:2000]
                print("\n".join(process.output()[-4000:] for process in core.processes.values()))
    summary = {
        "seed": given.seed,
        "kills": tally.kills,
        "edits": tally.edits,
        "reads": tally.reads,
        "load_average": os.getloadavg()[0],
        "cpus": os.cpu_count(),
        "recovery_secs": {
            name: {"median": round(statistics.median(times), 2), "max": round(max(times), 2), "count": len(times)}
            for name, times in tally.recovery_secs.items()
            if times
        },
        "wrong": wrong,
    }
    text = json.dumps(summary, indent=1, ensure_ascii=False)
    print(text)
    if given.json:
        given.json.write_text(text + "\n")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
