"""One cell of the matrix: a fault strikes a process while everything goes on; then all of it is checked."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import numpy as np
from grpclib import GRPCError
from grpclib.exceptions import StreamTerminatedError
from weightslab.checkpoints import CheckpointStore
from weightslab_common.columns import F64, I64, unpack
from weightslab_common.errors import FailedPrecondition
from weightslab_proto.weightslab.v1 import CurveKey, EditOperation, EditSamplesRequest, ExportPointsRequest, Mode

from tests.faults.workload import POOL, TAG_PREFIX, Viewer, Workload, edits_since, model_now
from tests.support.faulty import MEDIA, FaultyStudio
from tests.support.history import History, check
from tests.support.main_job import LOSS, edit_request, query, status, until
from tests.support.model import SampleModel
from tests.support.proxy import CLEAR, Trouble
from tests.support.studio import EXPERIMENT, Api

RECOVERY_SECS = 120.0
# So many steps are taken while the fault is there, or training was hurt.
STEPS_DURING = 3


@dataclass(frozen=True, slots=True)
class Fault:
    """`strike` begins it, `heal` ends it; both are given the studio and the name of a process."""

    strike: Callable[[FaultyStudio, str], object]
    heal: Callable[[FaultyStudio, str], object]


def _restart(studio: FaultyStudio, victim: str) -> None:
    if victim == MEDIA:
        os.kill(studio.media_pid(), signal.SIGTERM)
        return
    studio.processes[victim].stop(timeout_secs=30)
    studio.start_one(victim)


def _trouble(trouble: Trouble) -> Fault:
    return Fault(
        lambda studio, victim: studio.trouble(victim, trouble), lambda studio, victim: studio.trouble(victim, CLEAR)
    )


def _revive(studio: FaultyStudio, victim: str) -> None:
    studio.revive()


def _free_and_revive(studio: FaultyStudio, victim: str) -> None:
    studio.free_disk(victim)
    if victim == "nats":
        # It keeps the error of a write, and stores nothing more until it is started again.
        _restart(studio, victim)
    studio.revive()


FAULTS = {
    "kill": Fault(lambda studio, victim: studio.kill(victim), _revive),
    "stop": Fault(lambda studio, victim: studio.freeze(victim), lambda studio, victim: studio.thaw(victim)),
    "restart": Fault(_restart, _revive),
    "reset": Fault(lambda studio, victim: studio.reset(victim), lambda studio, victim: studio.reset(victim)),
    "latency": _trouble(Trouble(latency_secs=2.0)),
    "bandwidth": _trouble(Trouble(bytes_per_sec=10_000)),
    "half-open": _trouble(Trouble(silent=True)),
    "disk-full": Fault(lambda studio, victim: studio.fill_disk(victim), _free_and_revive),
    "clock-jump": Fault(
        lambda studio, victim: studio.set_clock(victim, offset_secs=-3600),
        lambda studio, victim: studio.set_clock(victim, offset_secs=0),
    ),
}


@dataclass(slots=True)
class Report:
    """What came of a cell. `recovery_secs`: from the end of the fault to the first success of each activity."""

    victim: str
    fault: str
    recovery_secs: dict[str, float] = field(default_factory=dict)
    edits: int = 0
    reads: int = 0
    points: int = 0
    checkpoints: int = 0
    said: dict[str, int] = field(default_factory=dict)


async def run_cell(studio: FaultyStudio, victim: str, fault: str, *, secs: float, seed: int) -> Report:
    """Strike, keep the fault for `secs`, heal, wait for everything, check everything. Raises AssertionError."""

    async def strike(load: Workload) -> None:
        await asyncio.to_thread(FAULTS[fault].strike, studio, victim)
        try:
            await _endure(studio, victim, secs)
        finally:
            await asyncio.to_thread(FAULTS[fault].heal, studio, victim)

    return await go_through(studio, Report(victim, fault), seed=seed, trouble=strike)


async def go_through(
    studio: FaultyStudio, report: Report, *, seed: int, trouble: Callable[[Workload], Awaitable[None]]
) -> Report:
    """Let everything go on, cause `trouble`, wait until all is well again, and check what everybody saw.

    Raises AssertionError, and TimeoutError when something does not come back.
    """
    async with studio.api() as api:
        await until(lambda: _answers(studio, api), what="the studio answers", timeout_secs=RECOVERY_SECS)
        now = await status(api)
        model = await model_now(api)
        total = (await query(api, "", limit=1)).total
    key = CurveKey(branch=now.branch, signal=LOSS, mode=Mode.TRAIN)
    load = Workload(studio, random.Random(seed), History(model.revision), Viewer(model.revision, key))
    async with load.running():
        await load.each_succeeds(timeout_secs=RECOVERY_SECS)
        load.said.clear()
        await trouble(load)
        report.recovery_secs = await load.each_succeeds(timeout_secs=RECOVERY_SECS)
    report.said = dict(load.said)
    assert not load.failures, load.failures
    await _check(studio, load, report, model=model, total=total)
    return report


async def _answers(studio: FaultyStudio, api: Api) -> bool:
    try:
        await query(api, "discarded", limit=1)
    except (GRPCError, OSError, StreamTerminatedError):
        return False
    return studio.ready()


async def _endure(studio: FaultyStudio, victim: str, secs: float) -> None:
    if victim == "trainer":
        await asyncio.sleep(secs)
        return
    end = time.monotonic() + secs
    before = studio.trained_steps

    async def trained() -> bool:
        return studio.trained_steps >= before + STEPS_DURING

    await until(trained, what=f"training goes on while {victim} is in trouble")
    await asyncio.sleep(max(0.0, end - time.monotonic()))


async def _check(studio: FaultyStudio, load: Workload, report: Report, *, model: SampleModel, total: int) -> None:
    async with studio.api() as api:
        log = await edits_since(api, load.history.first)
        check(load.history, log, model)
        page = await query(api, "discarded")
        assert set(page.uids) == {uid for _, uid in model.discarded}
        assert page.total == total, f"{page.total} samples, {total} before"
        seen = [(edit.revision, edit.edit_id) for edit in load.viewer.edits]
        assert seen == [(edit.revision, edit.edit_id) for edit in log[: len(seen)]], "the viewer saw other edits"
        report.points = await _check_points(api, load.viewer)
        newest = await _check_checkpoints(studio, load)
        await clean(api, model)
    report.edits, report.reads, report.checkpoints = len(log), len(load.history.reads), newest


async def clean(api: Api, model: SampleModel) -> None:
    """Take away what a workload has left, so that the next test begins with nothing discarded and no tag of it."""
    await api.samples.edit_samples(edit_request(EditOperation.RESTORE, [uid for _, uid in POOL]))
    for tag in [tag for tag in model.tags if tag.startswith(TAG_PREFIX)]:
        request = EditSamplesRequest(
            experiment=EXPERIMENT, edit_id=uuid.uuid4().hex, operation=EditOperation.DELETE_TAG, tag=tag
        )
        await api.samples.edit_samples(request)


async def _check_points(api: Api, viewer: Viewer) -> int:
    """Every step of the branch is there once and in order, and the viewer holds the same points."""
    goal = await status(api)
    steps: list[int] = []
    values: list[float] = []

    async def complete() -> bool:
        steps.clear()
        values.clear()
        async for chunk in api.signals.export_points(ExportPointsRequest(experiment=EXPERIMENT, keys=[viewer.key])):
            steps.extend(unpack(chunk.steps, I64).tolist())
            values.extend(unpack(chunk.values, F64).tolist())
        return goal.branch != viewer.key.branch or steps[-1] >= goal.step

    await until(complete, what="the points of all steps are stored")
    assert (np.diff(steps) == 1).all(), f"steps missing, doubled or out of order: {steps}"
    held = viewer.points
    assert held == list(zip(steps, values, strict=True))[: len(held)], "the viewer holds other points"
    assert not goal.dropped_values, f"{goal.dropped_values} values were dropped"
    return len(steps)


async def _check_checkpoints(studio: FaultyStudio, load: Workload) -> int:
    """What is listed is whole, and the newest acknowledged one is there."""
    store = CheckpointStore(studio.folder / "data" / EXPERIMENT / "checkpoints")
    found = await asyncio.to_thread(store.all)
    for info in found:
        try:
            await asyncio.to_thread(store.read, info)
        except FailedPrecondition:
            # Retention may have taken it meanwhile.
            assert info not in await asyncio.to_thread(store.all), f"a damaged checkpoint: {info}"
    if load.checkpoints:
        newest = load.checkpoints[-1]
        saved = [info.step for info in found if info.branch == newest.branch]
        assert saved and max(saved) >= newest.step, f"an acknowledged checkpoint is lost: {newest}, there are {saved}"
    return len(load.checkpoints)
