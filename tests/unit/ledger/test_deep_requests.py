"""Slices, trajectories, facets, renamed tags, replay and health, asked of a ledger that runs."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray
from weightslab_common import subjects
from weightslab_common.columns import F32, F64, I64, U32, unpack
from weightslab_common.errors import InvalidArgument, NotFound
from weightslab_ledger.fsck import check_files
from weightslab_proto.weightslab.bus.v1 import (
    GetActiveSetRequest,
    GetActiveSetResponse,
    LedgerHealthRequest,
    LedgerHealthResponse,
)
from weightslab_proto.weightslab.v1 import (
    Edit,
    EditOperation,
    EditSamplesResponse,
    GetFacetsRequest,
    GetFacetsResponse,
    GetSliceCurvesRequest,
    GetSliceCurvesResponse,
    GetTrajectoriesRequest,
    GetTrajectoriesResponse,
    ListEditsRequest,
    ListEditsResponse,
    Mode,
    QuerySamplesRequest,
    QuerySamplesResponse,
    RunStatus,
    SampleRef,
    Slice,
    Target,
    TrajectoryAxis,
    UndoEditRequest,
    UndoEditResponse,
)

from tests.unit.ledger.conftest import Studio
from tests.unit.ledger.trainers import edit_request, samples

COUNT, EPOCHS, BATCH = 20, 3, 5
# One loss per epoch and sample; one batch of five samples per step.
LOSSES: NDArray[np.float32] = np.random.default_rng(3).random((EPOCHS, COUNT), dtype=np.float32)


async def _train(studio: Studio, branch: str, *, first_step: int) -> None:
    step = first_step
    for epoch in range(EPOCHS):
        for start in range(0, COUNT, BATCH):
            positions = range(start, start + BATCH)
            losses: dict[str, ArrayLike] = {"train/loss": LOSSES[epoch, start : start + BATCH]}
            await studio.trainer.values("train", "r", positions, losses, step=step, epoch=epoch, branch=branch)
            step += 1


@pytest.fixture
async def trained(studio: Studio) -> AsyncIterator[Studio]:
    """Twenty samples trained for three epochs of four steps on two branches; a is on 0 to 9, b on the even ones."""
    async with studio.ledger():
        metadata: dict[str, Any] = {"target": [float(i % 2) for i in range(COUNT)], "camera": ["x", "y"] * 10}
        uids = [str(i) for i in range(COUNT)]
        await studio.trainer.register("train", uids, registration_id="r", metadata=metadata, class_names=["cat", "dog"])
        await _train(studio, "main", first_step=1)
        await _train(studio, "second", first_step=5)
        await studio.client.until(
            "query_samples",
            QuerySamplesRequest(limit=1),
            QuerySamplesResponse,
            lambda page: page.value_version == 2 * EPOCHS * COUNT,
        )
        await _edit(studio, EditOperation.ADD_TAG, samples("train", *map(str, range(10))), tag="a")
        await _edit(studio, EditOperation.ADD_TAG, samples("train", *map(str, range(0, 20, 2))), tag="b")
        yield studio


async def _edit(studio: Studio, operation: EditOperation, target: Target | None = None, **fields: Any) -> Edit:
    request = edit_request(operation, target, **fields)
    return (await studio.client.ask("edit_samples", request, EditSamplesResponse)).edit


async def _slices(studio: Studio, *slices: Slice, **fields: Any) -> GetSliceCurvesResponse:
    request = GetSliceCurvesRequest(**{"signal": "train/loss", "mode": Mode.TRAIN, "slices": list(slices), **fields})
    return await studio.client.ask("get_slice_curves", request, GetSliceCurvesResponse)


async def test_a_slice_is_the_mean_over_its_samples_per_branch_and_step(trained: Studio) -> None:
    both, either = Slice(tags=["a", "b"]), Slice(tags=["a", "b"], any=True)
    answer = await _slices(trained, both, either, Slice(filter="target == 1"), bucket_steps=1)
    assert answer.sample_counts == [5, 15, 10]
    assert [(curve.slice, curve.branch) for curve in answer.curves] == [
        (number, branch) for number in range(3) for branch in ("main", "second")
    ]
    rows = np.arange(COUNT)
    members = [(rows < 10) & (rows % 2 == 0), (rows < 10) | (rows % 2 == 0), rows % 2 == 1]
    for curve in answer.curves:
        first_step = 1 if curve.branch == "main" else 5
        expected = {
            first_step + epoch * 4 + batch: LOSSES[epoch, chosen].astype(np.float64)
            for epoch in range(EPOCHS)
            for batch in range(4)
            if len(chosen := rows[members[curve.slice] & (rows // BATCH == batch)])
        }
        assert unpack(curve.steps, I64).tolist() == list(expected)
        assert unpack(curve.means, F64) == pytest.approx([values.mean() for values in expected.values()], abs=1e-9)
        assert unpack(curve.deviations, F64) == pytest.approx([values.std() for values in expected.values()], abs=1e-9)
        assert unpack(curve.counts, I64).tolist() == [len(values) for values in expected.values()]


async def test_slices_in_buckets_of_a_range_of_one_branch(trained: Studio) -> None:
    answer = await _slices(trained, Slice(), bucket_steps=4, branches=["second"], first_step=8, last_step=13)
    (curve,) = answer.curves
    assert unpack(curve.steps, I64).tolist() == [8, 12]
    # Steps 8 to 11 are the last batch of the first epoch and three of the second.
    expected = np.concatenate([LOSSES[0, 15:], LOSSES[1, :15]]).mean(dtype=np.float64)
    assert unpack(curve.means, F64)[0] == pytest.approx(expected, abs=1e-9)
    assert (answer.truncated, (await _slices(trained, Slice())).bucket_steps) == (False, 1)


@pytest.mark.parametrize(
    ("fields", "error", "text"),
    [
        ({"slices": []}, InvalidArgument, "1 to 64 slices"),
        ({"slices": [Slice(tags=["nope"])]}, NotFound, "no tag 'nope'"),
        ({"slices": [Slice(filter="loss >")]}, InvalidArgument, "character 6"),
        ({"slices": [Slice()], "signal": "x"}, NotFound, "no values of samples are kept for 'x'.*train/loss"),
        ({"slices": [Slice()], "bucket_steps": -1}, InvalidArgument, "must not be negative"),
    ],
)
async def test_slices_that_cannot_be_are_refused(
    trained: Studio, fields: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        await _slices(trained, **fields)


async def test_trajectories_by_epoch_and_by_step(trained: Studio) -> None:
    async def ask(**fields: Any) -> list[tuple[int, str, list[int], list[float]]]:
        wanted = [SampleRef(split="train", uid=uid) for uid in ("17", "2")]
        request = GetTrajectoriesRequest(signal="train/loss", mode=Mode.TRAIN, samples=wanted, **fields)
        answer = await trained.client.ask("get_trajectories", request, GetTrajectoriesResponse)
        assert not answer.truncated
        return [
            (part.sample, part.branch, unpack(part.positions, I64).tolist(), unpack(part.values, F32).tolist())
            for part in answer.trajectories
        ]

    of = {number: LOSSES[:, row].tolist() for number, row in enumerate((17, 2))}
    assert await ask() == [
        (number, branch, [0, 1, 2], of[number]) for number in (0, 1) for branch in ("main", "second")
    ]
    assert await ask(axis=TrajectoryAxis.STEP, branches=["second"]) == [
        (0, "second", [8, 12, 16], of[0]),
        (1, "second", [5, 9, 13], of[1]),
    ]


async def test_epochs_are_there_after_a_restart(studio: Studio) -> None:
    wanted = GetTrajectoriesRequest(signal="train/loss", mode=Mode.TRAIN, samples=[SampleRef(split="train", uid="7")])
    async with studio.ledger():
        await studio.trainer.register("train", [str(i) for i in range(COUNT)], registration_id="r")
        await _train(studio, "main", first_step=1)
        await studio.client.until(
            "query_samples",
            QuerySamplesRequest(limit=1),
            QuerySamplesResponse,
            lambda page: page.value_version == EPOCHS * COUNT,
        )
    async with studio.ledger():
        answer = await studio.client.until(
            "get_trajectories", wanted, GetTrajectoriesResponse, lambda answer: bool(answer.trajectories)
        )
    assert unpack(answer.trajectories[0].values, F32).tolist() == LOSSES[:, 7].tolist()


async def test_facets_count_under_a_filter(trained: Studio) -> None:
    await _edit(trained, EditOperation.DISCARD, samples("train", "1", "12"))
    request = GetFacetsRequest(filter="row < 10")
    answer = await trained.client.ask("get_facets", request, GetFacetsResponse)
    assert (answer.matched, answer.discarded_count) == (10, 1)
    assert [(tag.tag, tag.count) for tag in answer.tags] == [("a", 10), ("b", 5)]
    found = {
        facet.column: [(value.text or value.number, value.class_name, value.count) for value in facet.values]
        for facet in answer.facets
    }
    assert found == {
        "split": [("train", "", 10)],
        "camera": [("x", "", 5), ("y", "", 5)],
        "target": [(0, "cat", 5), (1, "dog", 5)],
    }
    chosen = GetFacetsRequest(columns=["discarded", "loss"])
    answer = await trained.client.ask("get_facets", chosen, GetFacetsResponse)
    assert [(facet.column, facet.distinct_count) for facet in answer.facets] == [("discarded", 2), ("train/loss", 20)]


async def test_a_renamed_tag_keeps_its_samples_and_can_be_taken_back(trained: Studio) -> None:
    edit = await _edit(trained, EditOperation.RENAME_TAG, tag="a", new_tag=" first ")
    assert (edit.tag, edit.new_tag, edit.changed_count) == ("a", "first", 10)
    assert [(tag.tag, tag.count) for tag in edit.counters.tags] == [("b", 10), ("first", 10)]
    for tag, new_tag, error, text in (
        ("a", "c", NotFound, "no tag 'a'"),
        ("b", "first", InvalidArgument, "'first' already"),
        ("b", "", InvalidArgument, "1 to 64 characters"),
    ):
        with pytest.raises(error, match=text):
            await _edit(trained, EditOperation.RENAME_TAG, tag=tag, new_tag=new_tag)
    request = UndoEditRequest(edit_id=uuid.uuid4().hex)
    undo = (await trained.client.ask("undo_edit", request, UndoEditResponse)).edit
    assert [(tag.tag, tag.count) for tag in undo.counters.tags] == [("a", 10), ("b", 10)]


async def test_the_active_set_of_an_earlier_revision_or_step_is_replayed(trained: Studio) -> None:
    await _edit(trained, EditOperation.DISCARD, samples("train", "3"))
    status = RunStatus(experiment=trained.experiment, run_id="r", step=9, branch="second", applied_revision=3)

    async def obeyed() -> None:
        while True:
            await trained.bus.publish(subjects.subject(trained.experiment, subjects.STATUS), status)
            answer = await trained.client.ask("list_edits", ListEditsRequest(), ListEditsResponse)
            if answer.edits[-1].effective_step is not None:
                return

    await obeyed()
    await _edit(trained, EditOperation.DISCARD, samples("train", "4"))

    async def active(**fields: Any) -> tuple[int, list[int]]:
        answer = await trained.client.ask("active_set", GetActiveSetRequest(**fields), GetActiveSetResponse)
        return answer.revision, unpack(answer.discarded_rows, U32).tolist()

    assert await active(revision=4) == (4, [3, 4])
    assert await active(revision=2) == (2, [])
    assert await active(branch="second", step=10) == (3, [3])
    assert await active(branch="second", step=9) == (0, [])
    with pytest.raises(NotFound, match="no branch 'third'"):
        await active(branch="third", step=1)
    with pytest.raises(NotFound, match="no edit with revision 9"):
        await active(revision=9)


async def test_a_flipped_bit_shows_in_the_check_and_in_the_health(studio: Studio) -> None:
    folder = studio.settings.data_dir / "ledger" / studio.experiment
    async with studio.ledger():
        await studio.trainer.register("train", ["0"], registration_id="r")
        await studio.trainer.values("train", "r", [0], {"train/loss": [0.25]})
        await studio.client.until(
            "query_samples", QuerySamplesRequest(limit=1), QuerySamplesResponse, lambda page: page.value_version == 1
        )
    assert check_files(folder) == []
    (path,) = folder.glob("values-*.log")
    content = bytearray(path.read_bytes())
    content[content.index(np.float32(0.25).tobytes())] ^= 1
    path.write_bytes(content)
    assert len(check_files(folder)) == 1
    async with studio.ledger():
        health = await studio.client.until(
            "health", LedgerHealthRequest(), LedgerHealthResponse, lambda health: health.quarantined_records > 0
        )
    assert health.quarantined_records == 1
    assert health.quarantined_bytes > 0
