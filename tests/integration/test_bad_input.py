"""Bad input at the public API: a clear error with the right status, nothing lost, every service alive."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest
from grpclib import GRPCError
from grpclib.const import Status
from weightslab_proto.weightslab.v1 import (
    EditOperation,
    EditSamplesRequest,
    GetExperimentRequest,
    PauseRequest,
    Query,
    QuerySamplesRequest,
    SampleList,
    SampleRef,
    SetHyperparameterRequest,
    SortKey,
    Target,
)

from tests.support.grpcweb import BINARY, frame
from tests.support.main_job import edit_request, query
from tests.support.studio import EXPERIMENT, TOKEN, VIEWER_TOKEN, Api, Studio

QUERY_PATH = "/weightslab.v1.SampleService/QuerySamples"


@pytest.fixture
async def api(studio: Studio) -> AsyncIterator[Api]:
    """A client; after the test every service must still do its work and hold the same edits."""
    async with studio.api() as api:
        before = await query(api, "", limit=1)
        yield api
        after = await query(api, "", limit=1)
        assert (after.total, after.active, after.revision) == (before.total, before.active, before.revision)
        assert all(process.running for process in studio.processes.values())


async def _refused(call: Callable[[], Awaitable[object]], status: Status, *words: str) -> None:
    with pytest.raises(GRPCError) as caught:
        await call()
    assert caught.value.status is status, caught.value
    for word in words:
        assert word in (caught.value.message or ""), f"{word!r} is not named in: {caught.value.message}"


def _query(**fields: object) -> QuerySamplesRequest:
    return QuerySamplesRequest(**{"experiment": EXPERIMENT, "limit": 10, **fields})  # type: ignore[arg-type]


async def test_an_unknown_uid_is_named_and_nothing_is_applied(api: Api) -> None:
    request = edit_request(EditOperation.DISCARD, ["1", "no-such-uid"])
    await _refused(lambda: api.samples.edit_samples(request), Status.NOT_FOUND, "no-such-uid")


async def test_an_unknown_split_is_named(api: Api) -> None:
    target = Target(samples=SampleList(samples=[SampleRef(split="nowhere", uid="1")]))
    request = EditSamplesRequest(
        experiment=EXPERIMENT, edit_id=uuid.uuid4().hex, operation=EditOperation.DISCARD, target=target
    )
    await _refused(lambda: api.samples.edit_samples(request), Status.NOT_FOUND, "nowhere")


async def test_an_unknown_experiment_is_named(api: Api) -> None:
    request = GetExperimentRequest(experiment="no-such-experiment")
    await _refused(lambda: api.experiments.get_experiment(request), Status.NOT_FOUND, "no-such-experiment")


async def test_an_experiment_that_is_no_slug_is_refused(api: Api) -> None:
    request = GetExperimentRequest(experiment="wl.*.>")
    await _refused(lambda: api.experiments.get_experiment(request), Status.INVALID_ARGUMENT, "wl.*.>")


@pytest.mark.parametrize(
    "filter",
    ["loss >", "loss > 'a", "no_such_column > 1", "__import__('os')", "(" * 500, "tag(3)", "loss > 1 and", "x" * 3000],
)
async def test_a_malformed_query_says_what_is_wrong(api: Api, filter: str) -> None:
    await _refused(lambda: api.samples.query_samples(_query(filter=filter)), Status.INVALID_ARGUMENT)


async def test_a_query_error_tells_the_position(api: Api) -> None:
    await _refused(lambda: api.samples.query_samples(_query(filter="loss > ")), Status.INVALID_ARGUMENT, "7")


async def test_an_edit_by_a_malformed_query_changes_nothing(api: Api) -> None:
    request = EditSamplesRequest(
        experiment=EXPERIMENT,
        edit_id=uuid.uuid4().hex,
        operation=EditOperation.DISCARD,
        target=Target(query=Query(filter="loss >")),
    )
    await _refused(lambda: api.samples.edit_samples(request), Status.INVALID_ARGUMENT)


@pytest.mark.parametrize("fields", [{"offset": -1}, {"limit": -5}, {"limit": 0}, {"limit": 100_000}])
async def test_a_page_out_of_range_is_refused(api: Api, fields: dict[str, object]) -> None:
    await _refused(lambda: api.samples.query_samples(_query(**fields)), Status.INVALID_ARGUMENT)


async def test_an_unknown_sort_column_is_named(api: Api) -> None:
    request = _query(sort=[SortKey(column="weirdness")])
    await _refused(lambda: api.samples.query_samples(request), Status.INVALID_ARGUMENT, "weirdness")


@pytest.mark.parametrize("tag", ["", "   ", "x" * 65, "a\nb", "a\x00b"])
async def test_a_bad_tag_is_refused(api: Api, tag: str) -> None:
    request = edit_request(EditOperation.ADD_TAG, ["1"], tag=tag)
    await _refused(lambda: api.samples.edit_samples(request), Status.INVALID_ARGUMENT, "tag")


async def test_an_edit_without_a_target_is_refused(api: Api) -> None:
    request = EditSamplesRequest(experiment=EXPERIMENT, edit_id="e", operation=EditOperation.DISCARD)
    await _refused(lambda: api.samples.edit_samples(request), Status.INVALID_ARGUMENT, "target")


async def test_an_edit_without_an_id_is_refused(api: Api) -> None:
    request = edit_request(EditOperation.DISCARD, ["1"])
    request.edit_id = ""
    await _refused(lambda: api.samples.edit_samples(request), Status.INVALID_ARGUMENT, "edit_id")


async def test_an_expected_revision_that_does_not_hold_aborts(api: Api) -> None:
    request = edit_request(EditOperation.DISCARD, ["1"])
    request.expected_revision = 10**6
    await _refused(lambda: api.samples.edit_samples(request), Status.ABORTED, str(10**6))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("optimizer.lr", '"fast"', Status.INVALID_ARGUMENT),
        ("optimizer.lr", "{", Status.INVALID_ARGUMENT),
        ("batch_size", "0.5", Status.INVALID_ARGUMENT),
        ("no_such_name", "1", Status.NOT_FOUND),
    ],
)
async def test_a_wrong_hyperparameter_is_refused_and_the_old_value_kept(
    api: Api, name: str, value: str, expected: Status
) -> None:
    async def values() -> list[tuple[str, str, str]]:
        experiment = (await api.experiments.get_experiment(GetExperimentRequest(experiment=EXPERIMENT))).experiment
        assert experiment.status
        return [(hp.name, hp.requested_json, hp.applied_json) for hp in experiment.status.hyperparameters]

    before = await values()
    request = SetHyperparameterRequest(experiment=EXPERIMENT, name=name, value_json=value)
    await _refused(lambda: api.experiments.set_hyperparameter(request), expected, name)
    assert await values() == before


@pytest.mark.usefixtures("api")
async def test_a_wrong_token_is_unauthenticated(studio: Studio) -> None:
    async with studio.api(token="wrong") as stranger:
        request = GetExperimentRequest(experiment=EXPERIMENT)
        await _refused(lambda: stranger.experiments.get_experiment(request), Status.UNAUTHENTICATED, "token")


@pytest.mark.usefixtures("api")
async def test_a_viewer_may_read_and_may_not_edit(studio: Studio) -> None:
    async with studio.api(token=VIEWER_TOKEN) as viewer:
        assert (await query(viewer, "", limit=1)).total
        pause = PauseRequest(experiment=EXPERIMENT)
        await _refused(lambda: viewer.experiments.pause(pause), Status.PERMISSION_DENIED)
        discard = edit_request(EditOperation.DISCARD, ["1"])
        await _refused(lambda: viewer.samples.edit_samples(discard), Status.PERMISSION_DENIED)


async def test_an_oversized_message_is_refused(api: Api) -> None:
    request = _query(filter="x" * (5 * 1024 * 1024))
    await _refused(lambda: api.samples.query_samples(request), Status.RESOURCE_EXHAUSTED)


async def _post(studio: Studio, content: bytes, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.post(
            f"http://127.0.0.1:{studio.web_port}{QUERY_PATH}",
            content=content,
            headers={"content-type": BINARY, "authorization": f"Bearer {TOKEN}", **headers},
            timeout=20,
        )


def _grpc_status(response: httpx.Response) -> Status:
    """The status of a reply of trailers only, in its headers or in its trailer frame."""
    text = response.headers.get("grpc-status") or response.content.split(b"grpc-status:")[1].split(b"\r\n")[0].decode()
    return Status(int(text))


@pytest.mark.usefixtures("api")
async def test_a_wrong_content_type_is_refused_before_it_is_parsed(studio: Studio) -> None:
    response = await _post(studio, b"{}", **{"content-type": "application/json"})
    assert response.status_code == 415


@pytest.mark.usefixtures("api")
async def test_a_truncated_frame_is_refused(studio: Studio) -> None:
    whole = frame(bytes(_query()))
    for length in (0, 3, 5, len(whole) - 1):
        response = await _post(studio, whole[:length])
        assert response.status_code == 200
        assert _grpc_status(response) in (Status.INVALID_ARGUMENT, Status.INTERNAL), length


@pytest.mark.usefixtures("api")
async def test_an_oversized_web_message_is_refused(studio: Studio) -> None:
    response = await _post(studio, frame(b"x" * (5 * 1024 * 1024)))
    assert _grpc_status(response) is Status.RESOURCE_EXHAUSTED


@pytest.mark.usefixtures("api")
async def test_a_foreign_origin_is_refused(studio: Studio) -> None:
    response = await _post(studio, frame(bytes(_query())), origin="https://evil.example")
    assert response.status_code == 403
