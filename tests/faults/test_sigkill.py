"""SIGKILL of each process right after an acknowledged edit: edit, uids and acknowledged points are there after."""

from __future__ import annotations

import uuid

import numpy as np
import pytest
from grpclib import GRPCError
from grpclib.const import Status
from numpy.typing import NDArray
from weightslab_common.columns import F64, I64, unpack
from weightslab_proto.weightslab.v1 import (
    CurveKey,
    EditOperation,
    ExportPointsRequest,
    ListSignalsRequest,
    Mode,
)

from tests.support.faulty import FaultyStudio
from tests.support.main_job import TRAIN, edit_request, query, status, until
from tests.support.studio import EXPERIMENT, SERVICES, Api

pytestmark = [pytest.mark.timeout(300)]


async def _points(api: Api, branch: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    key = CurveKey(branch=branch, signal="train/loss", mode=Mode.TRAIN)
    steps: list[NDArray[np.int64]] = []
    values: list[NDArray[np.float64]] = []
    async for chunk in api.signals.export_points(ExportPointsRequest(experiment=EXPERIMENT, keys=[key])):
        steps.append(unpack(chunk.steps, I64))
        values.append(unpack(chunk.values, F64))
    return np.concatenate(steps), np.concatenate(values)


async def _identities(api: Api) -> dict[int, tuple[str, str]]:
    """Row -> (split, uid) of every sample."""
    found: dict[int, tuple[str, str]] = {}
    offset = 0
    while True:
        page = await query(api, "", offset=offset)
        splits = [page.splits[index] for index in page.split_index]
        rows = np.frombuffer(page.rows, "<u4").tolist()
        found.update(zip(rows, zip(splits, page.uids, strict=True), strict=True))
        offset += len(page.uids)
        if offset >= page.matched:
            return found


@pytest.mark.parametrize("victim", SERVICES)
async def test_an_acknowledged_edit_survives(hurt_studio: FaultyStudio, victim: str) -> None:
    studio = hurt_studio
    async with studio.api() as api:
        identities = await _identities(api)
        running = await status(api)
        steps, values = await _points(api, running.branch)
        tag = f"kill {victim} {uuid.uuid4().hex[:6]}"
        uids = [uid for split, uid in list(identities.values()) if split == "train"][:40:4]

        tagged = await api.samples.edit_samples(edit_request(EditOperation.ADD_TAG, uids, tag=tag))
        reply = await api.samples.edit_samples(edit_request(EditOperation.DISCARD, uids))
        studio.processes[victim].kill()
        assert reply.edit.revision == tagged.edit.revision + 1

    studio.start_one(victim)
    async with studio.api() as api:

        async def answers() -> bool:
            try:
                page = await query(api, f'tag("{tag}") and discarded')
                signals = (await api.signals.list_signals(ListSignalsRequest(experiment=EXPERIMENT))).curves
                return page.matched == len(uids) and bool(signals) and studio.ready()
            except (GRPCError, OSError):
                return False

        await until(answers, what=f"the edit is there after SIGKILL of {victim}")
        page = await query(api, f'tag("{tag}")')
        assert sorted(page.uids) == sorted(uids)
        assert page.revision >= reply.edit.revision
        assert await _identities(api) == identities

        steps_after, values_after = await _points(api, running.branch)
        assert len(steps_after) >= len(steps)
        np.testing.assert_array_equal(steps_after[: len(steps)], steps)
        np.testing.assert_array_equal(values_after[: len(values)], values)
        if victim != "trainer":
            # A trainer that starts again repeats the steps since its checkpoint; all others must double nothing.
            assert (np.diff(steps_after) > 0).all(), "a point was stored twice or out of order"

        async def goes_on() -> bool:
            now = await status(api)
            return now.applied_revision >= reply.edit.revision and now.step > running.step

        await until(goes_on, what=f"training goes on after SIGKILL of {victim}, obeying the edit", timeout_secs=90)
        restore = edit_request(EditOperation.RESTORE, uids)

        async def restored() -> bool:
            # The same edit id again changes nothing twice.
            try:
                return bool((await api.samples.edit_samples(restore)).edit.revision)
            except GRPCError as error:
                if error.status is not Status.UNAVAILABLE:
                    raise
                return False

        await until(restored, what="edits are taken again")
        assert (await query(api, f"{TRAIN} and discarded")).matched == 0
