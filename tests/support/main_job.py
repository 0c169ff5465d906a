"""The main job, as any client does it: find the swapped labels by their loss, tag and discard them, train on without.

A `Hand` is how a client acts (gRPC, gRPC-Web, console); what came of it is always read over gRPC.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from weightslab_common.columns import F64, unpack, unpack_bits
from weightslab_proto.weightslab.v1 import (
    EditOperation,
    EditSamplesRequest,
    GetExperimentRequest,
    Mode,
    PauseRequest,
    QuerySamplesRequest,
    QuerySamplesResponse,
    ResumeRequest,
    RunState,
    RunStatus,
    SampleList,
    SampleRef,
    SetModeRequest,
    SortKey,
    Target,
)

from tests.support.studio import EXPERIMENT, Api, Studio

LOSS = "train/loss"
LAST_STEP = "train/loss.last_step"
TRAIN = 'split == "train"'


class Hand(Protocol):
    """What a client of the main job must be able to do."""

    async def pause(self) -> None: ...
    async def resume(self) -> None: ...
    async def tag(self, uids: list[str], tag: str) -> None: ...
    async def discard(self, uids: list[str]) -> None: ...
    async def restore(self, uids: list[str]) -> None: ...


def train_samples(uids: list[str]) -> Target:
    return Target(samples=SampleList(samples=[SampleRef(split="train", uid=uid) for uid in uids]))


def edit_request(operation: EditOperation, uids: list[str], *, tag: str = "") -> EditSamplesRequest:
    return EditSamplesRequest(
        experiment=EXPERIMENT, edit_id=uuid.uuid4().hex, operation=operation, tag=tag, target=train_samples(uids)
    )


class GrpcHand:
    """Acts through the gRPC API."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def pause(self) -> None:
        await self._api.experiments.pause(PauseRequest(experiment=EXPERIMENT))

    async def resume(self) -> None:
        await self._api.experiments.resume(ResumeRequest(experiment=EXPERIMENT))

    async def tag(self, uids: list[str], tag: str) -> None:
        await self._api.samples.edit_samples(edit_request(EditOperation.ADD_TAG, uids, tag=tag))

    async def discard(self, uids: list[str]) -> None:
        await self._api.samples.edit_samples(edit_request(EditOperation.DISCARD, uids))

    async def restore(self, uids: list[str]) -> None:
        await self._api.samples.edit_samples(edit_request(EditOperation.RESTORE, uids))


async def until(condition: Callable[[], Awaitable[bool]], *, what: str, timeout_secs: float = 60) -> None:
    """Ask `condition` until it holds; raise TimeoutError that says `what` did not happen."""
    end = time.monotonic() + timeout_secs
    while not await condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {timeout_secs:g} s")
        await asyncio.sleep(0.05)


async def query(api: Api, filter: str, *, sort: str = "", limit: int = 1000, offset: int = 0) -> QuerySamplesResponse:
    keys = [SortKey(column=sort, descending=True)] if sort else []
    return await api.samples.query_samples(
        QuerySamplesRequest(
            experiment=EXPERIMENT, filter=filter, sort=keys, limit=limit, offset=offset, columns=[LOSS, LAST_STEP]
        )
    )


def numbers(page: QuerySamplesResponse, name: str) -> NDArray[np.float64]:
    column = next(column for column in page.columns if column.name == name)
    return unpack(column.numbers, F64, count=len(page.uids), name=name)


async def all_pages(api: Api, filter: str) -> tuple[list[str], NDArray[np.float64], NDArray[np.bool_]]:
    """Uids, last step of their loss, and discarded flags of all samples that `filter` matches."""
    uids: list[str] = []
    steps: list[NDArray[np.float64]] = []
    discarded: list[NDArray[np.bool_]] = []
    while True:
        page = await query(api, filter, offset=len(uids))
        steps.append(numbers(page, LAST_STEP))
        discarded.append(unpack_bits(page.discarded, count=len(page.uids)))
        uids += page.uids
        if len(uids) >= page.matched:
            return uids, np.concatenate(steps), np.concatenate(discarded)


async def status(api: Api) -> RunStatus:
    experiment = (await api.experiments.get_experiment(GetExperimentRequest(experiment=EXPERIMENT))).experiment
    assert experiment.status is not None, "no trainer has spoken yet"
    return experiment.status


async def wait_for_values(studio: Studio) -> None:
    """Return once every active sample of the training split has a loss."""
    async with studio.api() as api:

        async def seen() -> bool:
            try:
                return (await query(api, f"{TRAIN} and isnan(`{LOSS}`) and not discarded", limit=1)).matched == 0
            except Exception as error:
                # Services are still finding each other; what is wrong in the end is in the time-out's cause.
                print(f"not yet: {error}")
                return False

        await until(seen, what="every training sample has a loss", timeout_secs=90)


async def epochs_pass(api: Api, *, after_step: int, epochs: int) -> None:
    """Return once every active training sample was drawn `epochs` times after `after_step`."""
    for _ in range(epochs):

        async def drawn(step: int = after_step) -> bool:
            _, steps, discarded = await all_pages(api, TRAIN)
            return bool((steps[~discarded] > step).all())

        await until(drawn, what=f"all active samples drawn after step {after_step}")
        after_step = (await status(api)).step


async def _train(api: Api) -> None:
    """Let the run train, whatever a test before has left."""
    now = await status(api)
    if now.mode != Mode.TRAIN:
        await api.experiments.set_mode(SetModeRequest(experiment=EXPERIMENT, mode=Mode.TRAIN))
    if now.state == RunState.PAUSED:
        await api.experiments.resume(ResumeRequest(experiment=EXPERIMENT))


async def _found_by_loss(api: Api, swapped: list[str]) -> list[str]:
    """The swapped samples among as many of the greatest loss; returned once they are most of these."""
    hits: list[str] = []

    async def found() -> bool:
        worst = await query(api, f"{TRAIN} and not discarded", sort=LOSS, limit=len(swapped))
        hits[:] = set(worst.uids) & set(swapped)
        return len(hits) >= 0.8 * len(swapped)

    await until(found, what="sorting by loss brings the swapped labels to the front", timeout_secs=120)
    return hits


async def do_the_main_job(api: Api, hand: Hand, *, swapped: list[str]) -> None:
    """Do it with `hand`; assert every effect through the API. Leaves the run as it was found."""
    await _train(api)
    before = await query(api, TRAIN, limit=1)
    hits = await _found_by_loss(api, swapped)

    await hand.pause()
    paused = await status(api)
    assert paused.state == RunState.PAUSED
    tag = f"mislabelled {uuid.uuid4().hex[:8]}"
    await hand.tag(hits, tag)
    await hand.discard(hits)
    tagged = await query(api, f'tag("{tag}")')
    assert sorted(tagged.uids) == sorted(hits)
    assert unpack_bits(tagged.discarded, count=len(hits)).all()
    after = await query(api, TRAIN, limit=1)
    assert (after.total, after.active) == (before.total, before.active - len(hits))
    assert (await status(api)).step == paused.step, "a step was taken while paused"

    await hand.resume()
    await epochs_pass(api, after_step=paused.step, epochs=2)
    uids, steps, discarded = await all_pages(api, TRAIN)
    drawn_since = {uid for uid, step in zip(uids, steps, strict=True) if step > paused.step}
    assert not drawn_since & set(hits), "a discarded sample was drawn"
    assert {uid for uid, gone in zip(uids, discarded, strict=True) if gone} >= set(hits)

    await hand.restore(hits)
    restored_at = (await status(api)).step
    assert (await query(api, TRAIN, limit=1)).active == before.active
    await epochs_pass(api, after_step=restored_at, epochs=1)
