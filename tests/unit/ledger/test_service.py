"""The ledger as its clients see it, on a real bus and a real store."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from weightslab_common import subjects
from weightslab_common.columns import F64, I64, U32, unpack, unpack_bits
from weightslab_common.errors import FailedPrecondition, NotFound
from weightslab_proto.weightslab.bus.v1 import (
    ApplyEditRequest,
    ApplyEditResponse,
    GetDiscardsRequest,
    GetDiscardsResponse,
)
from weightslab_proto.weightslab.v1 import (
    CurveKey,
    EditOperation,
    EditSamplesResponse,
    GetCurvesRequest,
    GetCurvesResponse,
    GetStepSamplesRequest,
    GetStepSamplesResponse,
    ListColumnsRequest,
    ListColumnsResponse,
    Mode,
    QuerySamplesRequest,
    QuerySamplesResponse,
    SortKey,
)

from tests.unit.ledger.conftest import Studio
from tests.unit.ledger.trainers import edit_request, samples

UIDS = [str(i) for i in range(10)]


async def _registered(studio: Studio) -> None:
    await studio.trainer.register("train", UIDS, registration_id="r1", metadata={"target": [i % 3 for i in range(10)]})
    await studio.client.until(
        "list_columns", ListColumnsRequest(), ListColumnsResponse, lambda answer: bool(answer.splits)
    )


async def _page(studio: Studio, **fields: Any) -> QuerySamplesResponse:
    request = QuerySamplesRequest(limit=10, **fields)
    return await studio.client.ask("query_samples", request, QuerySamplesResponse)


async def _valued(studio: Studio, count: int) -> None:
    """Wait until so many values were taken in."""
    request = QuerySamplesRequest(limit=1)
    await studio.client.until("query_samples", request, QuerySamplesResponse, lambda page: page.value_version == count)


async def test_a_registered_split_is_listed_with_its_values(studio: Studio) -> None:
    async with studio.ledger():
        await _registered(studio)
        await studio.trainer.values("train", "r1", range(10), {"train/loss": np.arange(10) / 10})
        await _valued(studio, 10)
        sort = [SortKey(column="loss", descending=True)]
        page = await _page(studio, sort=sort, filter="target == 0")
    assert page.uids == ["9", "6", "3", "0"]
    assert (page.total, page.active, page.matched) == (10, 10, 4)
    loss = next(column for column in page.columns if column.name == "train/loss")
    assert unpack(loss.numbers, F64).tolist() == pytest.approx([0.9, 0.6, 0.3, 0.0])


async def test_an_acknowledged_edit_carries_the_step_from_which_the_trainer_obeys(studio: Studio) -> None:
    async def obey(request: ApplyEditRequest) -> ApplyEditResponse:
        return ApplyEditResponse(revision=request.event.revision, effective_step=57, branch="main")

    async with studio.ledger():
        await _registered(studio)
        await studio.bus.serve(subjects.command(studio.experiment, "apply"), ApplyEditRequest, obey)
        request = edit_request(EditOperation.DISCARD, samples("train", "3", "4"))
        edit = (await studio.client.ask("edit_samples", request, EditSamplesResponse)).edit
        assert (edit.revision, edit.changed_count, edit.effective_step) == (1, 2, 57)
        assert (edit.counters.total, edit.counters.active) == (10, 8)
        again = (await studio.client.ask("edit_samples", request, EditSamplesResponse)).edit
        assert (again.revision, again.effective_step) == (1, 57)
        discards = await studio.client.ask(
            "discards", GetDiscardsRequest(split="train", registration_id="r1"), GetDiscardsResponse
        )
    assert np.flatnonzero(unpack_bits(discards.discarded, count=10)).tolist() == [3, 4]
    assert unpack(discards.rows, U32).tolist() == list(range(10))


async def test_unknown_uids_are_named_and_nothing_is_applied(studio: Studio) -> None:
    async with studio.ledger():
        await _registered(studio)
        request = edit_request(EditOperation.ADD_TAG, samples("train", "1", "nobody"), tag="hard")
        with pytest.raises(NotFound, match="1 sample does not exist, nothing was changed: 'train/nobody'"):
            await studio.client.ask("edit_samples", request, EditSamplesResponse)
        page = await _page(studio)
    assert page.revision == 0
    assert page.tags == []


async def test_everything_is_there_after_a_restart(studio: Studio) -> None:
    async with studio.ledger():
        await _registered(studio)
        tag = edit_request(EditOperation.ADD_TAG, samples("train", "2"), tag="日本, a:b")
        await studio.client.ask("edit_samples", tag, EditSamplesResponse)
        await studio.trainer.points("train/loss", [1, 2, 3], [3.0, float("nan"), 1.0])
        await studio.trainer.values("train", "r1", [1, 1, 2], {"train/loss": [1.0, 3.0, 5.0]}, step=2)
        await _valued(studio, 3)
    async with studio.ledger():
        request = QuerySamplesRequest(limit=10, filter='tag("日本, a:b")', columns=["loss", "loss.mean"])
        page = await studio.client.until("query_samples", request, QuerySamplesResponse, lambda page: True)
        assert page.uids == ["2"]
        assert page.value_version == 3
        curves = await studio.client.ask("get_curves", GetCurvesRequest(), GetCurvesResponse)
        assert unpack(curves.curves[0].steps, I64).tolist() == [1, 2, 3]
        key = CurveKey(branch="main", signal="train/loss", mode=Mode.TRAIN)
        behind = await studio.client.ask(
            "get_step_samples", GetStepSamplesRequest(key=key, step=9), GetStepSamplesResponse
        )
    assert behind.step == 2
    assert [sample.uid for sample in behind.samples] == ["1", "1", "2"]


async def test_discards_of_an_unknown_registration_ask_to_come_again(studio: Studio) -> None:
    async with studio.ledger():
        await _registered(studio)
        with pytest.raises(FailedPrecondition, match="not registered"):
            await studio.client.ask(
                "discards", GetDiscardsRequest(split="train", registration_id="other"), GetDiscardsResponse
            )


async def test_another_dataset_is_told_and_the_first_comes_back_with_its_tags_and_values(
    studio: Studio, caplog: pytest.LogCaptureFixture
) -> None:
    """Shorter by six, longer by one, and then as it was; nothing is shifted, also not after a restart."""

    async def told(present: int, absent: int) -> None:
        await studio.client.until(
            "list_columns",
            ListColumnsRequest(),
            ListColumnsResponse,
            lambda answer: [(split.sample_count, split.absent_count) for split in answer.splits] == [(present, absent)],
        )

    async with studio.ledger():
        await _registered(studio)
        await studio.trainer.values("train", "r1", range(10), {"train/loss": np.arange(10)})
        await _valued(studio, 10)
        tag = edit_request(EditOperation.ADD_TAG, samples("train", "2", "9"), tag="odd")
        await studio.client.ask("edit_samples", tag, EditSamplesResponse)
        await studio.trainer.register("train", ["9", "new", "3", "7", "5"], registration_id="r2")
        await told(5, 6)
        assert "'train' is another dataset than before: 1 samples are new, 0 are back, 6 are gone" in caplog.text
        page = await _page(studio, filter='tag("odd") or uid == "new"', columns=["loss"])
        assert page.uids == ["9", "new"]
        assert unpack(page.columns[0].numbers, F64).tolist() == pytest.approx([9, np.nan], nan_ok=True)
        await studio.trainer.register("train", UIDS, registration_id="r1")
        await told(10, 1)
    async with studio.ledger():
        await told(10, 1)
        page = await _page(studio, filter='tag("odd")', columns=["loss"])
        assert page.uids == ["2", "9"]
        assert unpack(page.columns[0].numbers, F64).tolist() == [2, 9]
