"""What each request answers, and how it refuses."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from nats.aio.msg import Msg
from weightslab_common import calls, subjects
from weightslab_common.columns import F64, I64, U32, unpack, unpack_bits
from weightslab_common.errors import Aborted, FailedPrecondition, InvalidArgument, NotFound
from weightslab_common.service import background
from weightslab_ledger.fsck import check
from weightslab_ledger.store import Keys, Store
from weightslab_proto.weightslab.bus.v1 import (
    EditEvent,
    ListLedgerExperimentsRequest,
    ListLedgerExperimentsResponse,
    LiveUpdate,
)
from weightslab_proto.weightslab.v1 import (
    CurveKey,
    Edit,
    EditOperation,
    EditSamplesResponse,
    GetCurvesRequest,
    GetCurvesResponse,
    GetHistogramRequest,
    GetHistogramResponse,
    GetSampleRequest,
    GetSampleResponse,
    ListColumnsRequest,
    ListColumnsResponse,
    ListEditsRequest,
    ListEditsResponse,
    ListSignalsRequest,
    ListSignalsResponse,
    Mode,
    QuerySamplesRequest,
    QuerySamplesResponse,
    RunStatus,
    SampleRef,
    SortKey,
    SummarizeSelectionRequest,
    SummarizeSelectionResponse,
    Target,
    UndoEditRequest,
    UndoEditResponse,
)

from tests.unit.ledger.conftest import Studio
from tests.unit.ledger.trainers import edit_request, matching, samples

UIDS = [str(i) for i in range(20)]


@pytest.fixture
async def served(studio: Studio) -> AsyncIterator[Studio]:
    """Twenty samples with targets 0 to 3 and losses 0 to 19, and a curve of a hundred points."""
    async with studio.ledger():
        targets = [float(i % 4) for i in range(20)]
        await studio.trainer.register("train", UIDS, registration_id="r", metadata={"target": targets})
        await studio.trainer.values("train", "r", range(20), {"train/loss": np.arange(20)}, step=7)
        await studio.trainer.points("train/loss", range(100), np.linspace(1, 0, 100).tolist())
        await studio.client.until("query_samples", QuerySamplesRequest(limit=1), QuerySamplesResponse, _has_values)
        await studio.client.until(
            "list_signals", ListSignalsRequest(), ListSignalsResponse, lambda answer: bool(answer.curves)
        )
        yield studio


def _has_values(page: QuerySamplesResponse) -> bool:
    return page.value_version >= 20


async def _query(studio: Studio, **fields: Any) -> QuerySamplesResponse:
    request = QuerySamplesRequest(**{"limit": 5, **fields})
    return await studio.client.ask("query_samples", request, QuerySamplesResponse)


async def _edit(studio: Studio, operation: EditOperation, target: Target | None = None, **fields: Any) -> Edit:
    request = edit_request(operation, target, **fields)
    return (await studio.client.ask("edit_samples", request, EditSamplesResponse)).edit


async def _undo(studio: Studio, revision: int = 0) -> Edit:
    request = UndoEditRequest(edit_id=uuid.uuid4().hex, revision=revision)
    return (await studio.client.ask("undo_edit", request, UndoEditResponse)).edit


BY_LOSS = [SortKey(column="loss", descending=True)]


async def test_a_view_keeps_its_order_until_it_is_asked_anew(served: Studio) -> None:
    first = await _query(served, sort=BY_LOSS)
    assert first.uids == ["19", "18", "17", "16", "15"]
    await served.trainer.values("train", "r", [0], {"train/loss": [99.0]})
    await served.client.until(
        "query_samples", QuerySamplesRequest(limit=1), QuerySamplesResponse, lambda page: page.value_version == 21
    )
    await _edit(served, EditOperation.DISCARD, samples("train", "19"))
    held = await _query(served, sort=BY_LOSS, view=first.view)
    assert (held.view, held.uids, held.edits_since) == (first.view, first.uids, 1)
    assert unpack_bits(held.discarded, count=5).tolist() == [True, False, False, False, False]
    anew = await _query(served, sort=BY_LOSS)
    assert anew.uids[:2] == ["0", "19"]
    assert anew.edits_since == 0
    other = await _query(served, sort=BY_LOSS, filter="not discarded", view=first.view)
    assert other.view != first.view
    assert (other.total, other.active, other.matched) == (20, 19, 19)


async def test_pages_follow_each_other_and_end(served: Studio) -> None:
    pages = [await _query(served, sort=BY_LOSS, offset=offset, limit=8) for offset in (0, 8, 16, 24)]
    assert [len(page.uids) for page in pages] == [8, 8, 4, 0]
    assert sorted(uid for page in pages for uid in page.uids) == sorted(UIDS)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"offset": -1}, "offset must not be negative, it is -1"),
        ({"limit": 0}, "limit must be 1 to 1,000, not 0"),
        ({"limit": 1001}, "limit must be 1 to 1,000, not 1001"),
        ({"filter": "loss >"}, "character 6: found the end"),
        ({"sort": [SortKey(column="nothing")]}, "there is no column 'nothing'"),
        ({"columns": ["nothing"]}, "there is no column 'nothing'"),
    ],
)
async def test_a_query_that_cannot_be_is_refused(served: Studio, fields: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidArgument, match=text):
        await _query(served, **fields)


async def test_edits_by_query_tags_and_their_counters(served: Studio) -> None:
    edit = await _edit(served, EditOperation.ADD_TAG, matching("target == 1"), tag="  ones ")
    assert (edit.tag, edit.changed_count, edit.target_count) == ("ones", 5, 5)
    assert [(tag.tag, tag.count) for tag in edit.counters.tags] == [("ones", 5)]
    page = await _query(served, filter='tag("ones")')
    assert [(tag.tag, unpack_bits(tag.members, count=5).tolist()) for tag in page.tags] == [("ones", [True] * 5)]
    request = SummarizeSelectionRequest(target=samples("train", "0", "1", "5"))
    summary = await served.client.ask("summarize_selection", request, SummarizeSelectionResponse)
    assert (summary.count, summary.discarded_count) == (3, 0)
    assert [(tag.tag, tag.count) for tag in summary.tags] == [("ones", 2)]
    await _edit(served, EditOperation.REMOVE_TAG, samples("train", "1"), tag="ones")
    cleared = await _edit(served, EditOperation.CLEAR_TAGS, samples("train", "1", "5"))
    assert cleared.changed_count == 1
    deleted = await _edit(served, EditOperation.DELETE_TAG, tag="ones")
    assert (deleted.changed_count, deleted.counters.tags) == (3, [])
    back = await _undo(served)
    assert [(tag.tag, tag.count) for tag in back.counters.tags] == [("ones", 3)]
    assert back.undone_revision == deleted.revision


async def test_undo_and_redo_by_revision(served: Studio) -> None:
    await _edit(served, EditOperation.DISCARD, samples("train", "1", "2"))
    undo = await _undo(served)
    assert (undo.operation, undo.undone_revision, undo.counters.active) == (EditOperation.UNDO, 1, 20)
    redo = await _undo(served, undo.revision)
    assert redo.counters.active == 18
    with pytest.raises(FailedPrecondition, match="taken back already, by edit 3"):
        await _undo(served, undo.revision)
    with pytest.raises(NotFound, match="no edit with revision 99"):
        await _undo(served, 99)


@pytest.mark.parametrize(
    ("operation", "target", "fields", "error", "text"),
    [
        (EditOperation.ADD_TAG, samples("train", "1"), {"tag": "  "}, InvalidArgument, "1 to 64 characters"),
        (EditOperation.ADD_TAG, samples("train", "1"), {"tag": "a\nb"}, InvalidArgument, "control character"),
        (EditOperation.DISCARD, samples("train", "1"), {"tag": "x"}, InvalidArgument, "takes no tag"),
        (EditOperation.DISCARD, None, {}, InvalidArgument, "has no target"),
        (EditOperation.UNDO, samples("train", "1"), {}, InvalidArgument, "taken back by UndoEdit"),
        (EditOperation.DISCARD, samples("nowhere", "1"), {}, NotFound, "1 sample does not exist.*'nowhere/1'"),
        (EditOperation.DISCARD, matching("loss >"), {}, InvalidArgument, "character 6"),
        (EditOperation.DISCARD, samples("train", "1"), {"edit_id": "x" * 65}, InvalidArgument, "1 to 64"),
        (EditOperation.DISCARD, samples("train", "1"), {"expected_revision": 9}, Aborted, "at revision 0, not at 9"),
        (EditOperation.REMOVE_TAG, samples("train", "1"), {"tag": "x"}, NotFound, "there is no tag 'x'"),
    ],
)
async def test_an_edit_that_cannot_be_changes_nothing(
    served: Studio,
    operation: EditOperation,
    target: Target | None,
    fields: dict[str, Any],
    error: type[Exception],
    text: str,
) -> None:
    with pytest.raises(error, match=text):
        await _edit(served, operation, target, **fields)
    page = await _query(served)
    assert (page.revision, page.active) == (0, 20)


async def test_an_edit_whose_caller_has_no_time_left_is_not_made(served: Studio) -> None:
    request = edit_request(EditOperation.ADD_TAG, samples("train", "1"), tag="late")
    headers = {calls.TIMEOUT_HEADER: "0"}
    subject = subjects.ledger(served.experiment, "edit_samples")
    reply = await served.bus.client.request(subject, bytes(request), timeout=60, headers=headers)
    assert reply.data == b"nobody waits for this answer any more"
    edit = await _edit(served, EditOperation.ADD_TAG, samples("train", "1"), tag="in time")
    assert (edit.revision, [tag.tag for tag in edit.counters.tags]) == (1, ["in time"])


async def test_many_unknown_uids_are_counted_and_the_first_ten_named(served: Studio) -> None:
    with pytest.raises(NotFound, match=r"30 samples do not exist.*'train/x9', …$"):
        await _edit(served, EditOperation.DISCARD, samples("train", *[f"x{i}" for i in range(30)]))


async def test_a_sample_shows_everything_known_of_it(served: Studio) -> None:
    await _edit(served, EditOperation.ADD_TAG, samples("train", "3"), tag="b")
    await _edit(served, EditOperation.DISCARD, samples("train", "3"))
    request = GetSampleRequest(sample=SampleRef(split="train", uid="3"))
    sample = await served.client.ask("get_sample", request, GetSampleResponse)
    assert (sample.row, sample.discarded, sample.tags) == (3, True, ["b"])
    assert sample.last_edit is not None
    assert sample.last_edit.revision == 2
    fields = {field.name: field.number for field in sample.fields}
    assert (fields["target"], fields["train/loss"], fields["train/loss.last_step"]) == (3, 3, 7)
    with pytest.raises(NotFound, match="there is no sample 'x' in split 'train'"):
        await served.client.ask(
            "get_sample", GetSampleRequest(sample=SampleRef(split="train", uid="x")), GetSampleResponse
        )


async def test_the_log_is_read_forwards_and_backwards(served: Studio) -> None:
    for uid in ("1", "2", "3"):
        await _edit(served, EditOperation.DISCARD, samples("train", uid))
    forwards = await served.client.ask("list_edits", ListEditsRequest(after_revision=1), ListEditsResponse)
    assert [edit.revision for edit in forwards.edits] == [2, 3]
    backwards = await served.client.ask("list_edits", ListEditsRequest(newest_first=True, limit=2), ListEditsResponse)
    assert [edit.revision for edit in backwards.edits] == [3, 2]
    assert backwards.edits[0].author == "test"


async def test_histograms_of_numbers_and_of_texts(served: Studio) -> None:
    request = GetHistogramRequest(column="loss", filter="loss < 10", bin_count=5)
    answer = await served.client.ask("get_histogram", request, GetHistogramResponse)
    assert unpack(answer.counts, I64).tolist() == [2, 2, 2, 2, 2]
    assert unpack(answer.edges, F64).tolist() == pytest.approx([0, 1.8, 3.6, 5.4, 7.2, 9])
    answer = await served.client.ask("get_histogram", GetHistogramRequest(column="split"), GetHistogramResponse)
    assert (answer.categories, unpack(answer.counts, I64).tolist()) == (["train"], [20])


async def test_curves_by_range_ordinal_and_budget(served: Studio) -> None:
    async def curve(**fields: Any) -> Any:
        return (await served.client.ask("get_curves", GetCurvesRequest(**fields), GetCurvesResponse)).curves[0]

    ranged = await curve(first_step=10, last_step=19)
    assert (ranged.point_count, ranged.range_count, ranged.reduced) == (100, 10, False)
    assert unpack(ranged.steps, I64).tolist() == list(range(10, 20))
    small = await curve(budget=4)
    assert small.reduced
    assert unpack(small.steps, I64).tolist() == [0, 99]
    raw = await curve(raw=True, first_ordinal=90, budget=5)
    assert unpack(raw.steps, I64).tolist() == [90, 91, 92, 93, 94]
    key = CurveKey(branch="main", signal="nothing", mode=Mode.TRAIN)
    with pytest.raises(NotFound, match="there is no curve of 'nothing'"):
        await curve(keys=[key])
    with pytest.raises(InvalidArgument, match="budget must be 4 to 100,000"):
        await curve(budget=3)


async def test_columns_and_splits_are_described(served: Studio) -> None:
    answer = await served.client.ask("list_columns", ListColumnsRequest(), ListColumnsResponse)
    groups = {column.name: column.group for column in answer.columns}
    expected = {"uid": "identity", "target": "metadata", "train/loss.max": "signal", "train/loss_trend": "score"}
    assert expected.items() <= groups.items()
    assert [(split.split, split.sample_count) for split in answer.splits] == [("train", 20)]


async def test_every_ledger_lists_what_it_holds(served: Studio) -> None:
    subject = subjects.ledger(subjects.ALL_EXPERIMENTS, "list")
    answer = await served.bus.request(
        subject, ListLedgerExperimentsRequest(), ListLedgerExperimentsResponse, timeout_secs=30, part="ledger"
    )
    found = {entry.experiment: entry for entry in answer.experiments}
    assert found[served.experiment].counters.total == 20


async def _hear(studio: Studio, what: str) -> asyncio.Queue[bytes]:
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def put(message: Msg) -> None:
        heard.put_nowait(message.data)

    await studio.bus.client.subscribe(subjects.subject(studio.experiment, what), cb=put)
    await studio.bus.client.flush()
    return heard


async def test_an_edit_is_told_with_the_rows_whose_discard_it_changed(served: Studio) -> None:
    heard = await _hear(served, subjects.EDITS)
    await _edit(served, EditOperation.DISCARD, samples("train", "4", "2"))
    event = EditEvent().parse(await asyncio.wait_for(heard.get(), 30))
    assert (event.revision, unpack(event.discarded_rows, U32).tolist(), event.restored_rows) == (1, [2, 4], b"")
    assert Edit().parse(event.edit).counters.active == 18
    await _undo(served)
    event = EditEvent().parse(await asyncio.wait_for(heard.get(), 30))
    assert unpack(event.restored_rows, U32).tolist() == [2, 4]


async def test_live_updates_carry_new_points_by_ordinal_and_come_at_least_once_a_second(served: Studio) -> None:
    heard = await _hear(served, subjects.LIVE)
    quiet = LiveUpdate().parse(await asyncio.wait_for(heard.get(), 30))
    assert quiet.counters.total == 20
    await served.trainer.points("train/loss", [100, 101], [5.0, float("nan")])
    while True:
        update = LiveUpdate().parse(await asyncio.wait_for(heard.get(), 30))
        if update.curves:
            break
    delta = update.curves[0]
    assert (delta.first_ordinal, delta.point_count) == (100, 102)
    assert unpack(delta.steps, I64).tolist() == [100, 101]
    assert np.isnan(unpack(delta.values, F64)[1])


async def test_a_trainer_that_obeys_later_gives_the_edit_its_step(served: Studio) -> None:
    edit = await _edit(served, EditOperation.DISCARD, samples("train", "1"))
    assert edit.effective_step is None
    status = RunStatus(experiment=served.experiment, run_id="r", step=41, branch="main", applied_revision=1)

    async def speak() -> None:
        while True:
            await served.bus.publish(subjects.subject(served.experiment, subjects.STATUS), status)
            await asyncio.sleep(0.1)

    async with background(asyncio.create_task(speak())):
        answer = await served.client.until(
            "list_edits",
            ListEditsRequest(),
            ListEditsResponse,
            lambda answer: answer.edits[0].effective_step is not None,
        )
    assert (answer.edits[0].effective_step, answer.edits[0].effective_branch) == (42, "main")


async def test_the_check_finds_a_bitmap_that_somebody_changed(served: Studio) -> None:
    await _edit(served, EditOperation.DISCARD, samples("train", "1"))
    await _edit(served, EditOperation.ADD_TAG, matching(""), tag="all")
    store = Store(served.settings.redis_url)
    try:
        assert await check(store, [served.experiment]) == {served.experiment: []}
        await store.client.setbit(Keys(served.experiment)("discards"), 7, 1)
        found = await check(store, [served.experiment])
    finally:
        await store.close()
    assert found == {served.experiment: ["discards: 1 samples differ between the log and the bitmap"]}
