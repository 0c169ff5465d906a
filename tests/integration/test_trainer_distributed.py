"""Two ranks are one run: with a real bus, a real store and a real ledger."""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from weightslab_common import embedded
from weightslab_common.bus import Bus
from weightslab_common.errors import InvalidArgument
from weightslab_proto.weightslab.v1 import (
    EditOperation,
    EditSamplesResponse,
    LoadCheckpointRequest,
    LoadCheckpointResponse,
    Mode,
    PauseRequest,
    PauseResponse,
    QuerySamplesRequest,
    QuerySamplesResponse,
    ResumeRequest,
    ResumeResponse,
    RunState,
    SetHyperparameterRequest,
    SetHyperparameterResponse,
    SetModeRequest,
    SetModeResponse,
)

from tests.support.processes import Process
from tests.unit.ledger.trainers import Client, edit_request, samples
from tests.unit.trainer.peers import Peer, eventually

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = 160
BATCH = 16


class Ranks:
    """The example in two processes, and a ledger."""

    def __init__(self, bus: Bus, folder: Path, *, nats_url: str, redis_url: str) -> None:
        self.folder = folder
        experiment = f"ranks-{uuid.uuid4().hex[:8]}"
        self.peer = Peer(bus, experiment)
        self.client = Client(bus, experiment)
        shared = {
            "WL_NATS_URL": nats_url,
            "WL_REDIS_URL": redis_url,
            "WL_DATA_DIR": str(folder / "data"),
            "WL_EXPERIMENT": experiment,
            "WL_MEDIA_WORKER": "thread",
            "WORLD_SIZE": "2",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(embedded.free_port()),
            "GLOO_SOCKET_IFNAME": "lo",
        }
        script = [sys.executable, str(ROOT / "examples" / "distributed.py"), "--epochs", "100000"]
        script += ["--samples", str(SAMPLES), "--pause-secs", "0.02", "--record", str(folder)]
        self.processes = [
            Process([sys.executable, "-m", "weightslab_ledger"], log=folder / "ledger.log", environment=shared),
            *(
                Process(script, log=folder / f"rank-{rank}.log", environment={**shared, "RANK": str(rank)})
                for rank in range(2)
            ),
        ]

    def steps(self) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """What both ranks saw, step by step."""
        lines = [(self.folder / f"rank-{rank}.jsonl").read_text().split("\n")[:-1] for rank in range(2)]
        return [(json.loads(first), json.loads(second)) for first, second in zip(*lines, strict=False)]

    async def reach(self, count: int) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        async def look() -> list[tuple[dict[str, Any], dict[str, Any]]] | None:
            for process in self.processes:
                assert process.running, process.output()
            try:
                steps = self.steps()
            except FileNotFoundError:
                return None
            return steps if len(steps) >= count else None

        return await eventually(look, what=f"{count} steps are taken", timeout_secs=60)


@pytest.fixture
async def ranks(nats_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Ranks]:
    bus = await Bus.connect(nats_url, name="test")
    await bus.ensure_streams()
    started = Ranks(bus, tmp_path, nats_url=nats_url, redis_url=redis_url)
    try:
        for process in started.processes:
            process.start()
        yield started
    finally:
        for process in started.processes:
            process.kill()
        await bus.close()


def _epochs(steps: list[tuple[dict[str, Any], dict[str, Any]]]) -> dict[int, list[str]]:
    drawn: dict[int, list[str]] = {}
    for pair in steps:
        for each in pair:
            drawn.setdefault(each["epoch"], []).extend(each["uids"])
    return drawn


async def test_two_ranks_publish_their_shares_and_obey_as_one(ranks: Ranks) -> None:
    peer = ranks.peer
    steps = await ranks.reach(11)
    whole = [str(uid) for uid in range(SAMPLES)]
    assert sorted(_epochs(steps)[0], key=int) == whole

    async def valued() -> bool:
        request = QuerySamplesRequest(filter="isnan(`train/loss`)", limit=1)
        try:
            page = await peer_query(ranks, request)
        except InvalidArgument:
            # The ledger has read no value yet, and so has no such column.
            return False
        return page.total == SAMPLES and page.matched == 0

    await eventually(valued, what="samples of both ranks have values", timeout_secs=60)

    # A pause holds both ranks at the same step.
    paused = await peer.ask("pause", PauseRequest(), PauseResponse)
    held = await ranks.reach(paused.step)
    await asyncio.sleep(0.2)
    assert len(ranks.steps()) == len(held) == paused.step

    # Edits that one shard has more of than the other hold on both from the same step.
    gone = [str(uid) for uid in range(0, 41, 2)]
    edit = edit_request(EditOperation.DISCARD, samples("train", *gone))
    reply = await ranks.client.ask("edit_samples", edit, EditSamplesResponse)
    assert reply.edit.changed_count == len(gone)
    await peer.ask("resume", ResumeRequest(), ResumeResponse)
    later = await ranks.reach(paused.step + 25)
    since = later[paused.step :]
    assert not {uid for pair in since for each in pair for uid in each["uids"]} & set(gone)
    whole_epochs = sorted({pair[0]["epoch"] for pair in since})[1:-1]
    left = set(whole) - set(gone)
    for epoch in whole_epochs:
        drawn = _epochs(since)[epoch]
        assert all(len(a["uids"]) == len(b["uids"]) for a, b in since if a["epoch"] == epoch)
        assert set(drawn) == left
        # The last round is filled up so that both ranks have as many.
        assert len(drawn) == len(left) + len(left) % 2
    assert whole_epochs

    # A learning rate holds on both from the same step.
    set_lr = SetHyperparameterRequest(name="lr", value_json="0.01")
    await peer.ask("set_hyperparameter", set_lr, SetHyperparameterResponse)
    rates = [[each["lr"] for each in pair] for pair in await ranks.reach(len(ranks.steps()) + 5)]
    assert all(first == second for first, second in rates)
    assert rates[-1] == [0.01, 0.01]

    # An audit leaves both as they were; the weights of the ranks never differ.
    await peer.ask("set_mode", SetModeRequest(mode=Mode.AUDIT), SetModeResponse)
    during = await ranks.reach(len(ranks.steps()) + 6)
    assert during[-1][0]["weights"] == during[-2][0]["weights"]
    audited = await peer.ask("set_mode", SetModeRequest(mode=Mode.TRAIN), SetModeResponse)
    assert audited.audit is not None
    assert audited.audit.hash_after == audited.audit.hash_before
    after = await ranks.reach(len(ranks.steps()) + 3)
    assert after[-1][0]["weights"] != during[-1][0]["weights"]

    # A checkpoint brings both back.
    await peer.ask("load_checkpoint", LoadCheckpointRequest(branch="main", step=25), LoadCheckpointResponse)
    await peer.ask("resume", ResumeRequest(), ResumeResponse)
    status = await peer.status_when(lambda s: s.branch != "main" and s.state == RunState.RUNNING, what="it branched")
    final = await ranks.reach(len(ranks.steps()) + 5)
    assert all(first["weights"] == second["weights"] for first, second in final)
    assert [branch.parent_step for branch in status.branches] == [0, 20]


async def peer_query(ranks: Ranks, request: QuerySamplesRequest) -> QuerySamplesResponse:
    return await ranks.client.until("query_samples", request, QuerySamplesResponse, lambda page: True)
