"""Calls over both transports: the same handlers, the same errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import betterproto
import pytest
from grpclib import GRPCError
from grpclib.client import Channel
from grpclib.const import Status
from weightslab_common import subjects
from weightslab_common.bus import Bus
from weightslab_proto.weightslab.v1 import (
    EditSamplesRequest,
    EditSamplesResponse,
    ExportPointsRequest,
    ExportPointsResponse,
    GetExperimentRequest,
    GetExperimentResponse,
    GetSampleRequest,
    GetSampleResponse,
    ListExperimentsRequest,
    ListExperimentsResponse,
    PauseRequest,
    PauseResponse,
    QuerySamplesRequest,
    QuerySamplesResponse,
    RunState,
)

from tests.support.grpcweb import BINARY, TEXT
from tests.support.studio import TOKEN, VIEWER_TOKEN
from tests.unit.gateway.conftest import Gateway
from tests.unit.gateway.peers import LOSS, LedgerPeer, TrainerPeer, points, settle

ReplyT = TypeVar("ReplyT", bound=betterproto.Message)
EXPERIMENTS = "/weightslab.v1.ExperimentService/"
SAMPLES = "/weightslab.v1.SampleService/"
SIGNALS = "/weightslab.v1.SignalService/"


class Client:
    """Calls by path over one transport."""

    def __init__(self, gateway: Gateway, transport: str) -> None:
        self._gateway = gateway
        self._transport = transport

    async def unary(
        self, path: str, request: betterproto.Message, reply_type: type[ReplyT], *, token: str = TOKEN
    ) -> ReplyT:
        replies = [reply async for reply in self.stream(path, request, reply_type, token=token)]
        assert len(replies) == 1
        return replies[0]

    async def stream(
        self, path: str, request: betterproto.Message, reply_type: type[ReplyT], *, token: str = TOKEN
    ) -> AsyncIterator[ReplyT]:
        if self._transport == "grpc":
            async with Channel("127.0.0.1", self._gateway.grpc_port) as channel:
                stub = betterproto.ServiceStub(channel, metadata={"authorization": f"Bearer {token}"})
                async for reply in stub._unary_stream(path, request, reply_type):
                    yield reply
            return
        async with self._gateway.web(token, self._transport) as web:
            async for reply in web.stream(path, request, reply_type):
                yield reply


@pytest.fixture(params=["grpc", BINARY, TEXT], ids=["grpc", "binary", "text"])
def client(gateway: Gateway, request: pytest.FixtureRequest) -> Client:
    return Client(gateway, request.param)


async def refused(call: Callable[[], Awaitable[object]], status: Status, *words: str) -> GRPCError:
    with pytest.raises(GRPCError) as caught:
        await call()
    assert caught.value.status is status, caught.value
    for word in words:
        assert word in (caught.value.message or ""), f"{word!r} is not named in: {caught.value.message}"
    return caught.value


async def test_a_request_reaches_the_ledger_and_its_reply_comes_back(client: Client, ledger: LedgerPeer) -> None:
    request = QuerySamplesRequest(experiment=ledger.experiment, filter="日本", limit=1)
    reply = await client.unary(SAMPLES + "QuerySamples", request, QuerySamplesResponse)
    assert (reply.total, reply.uids) == (100, ["日本"])


async def test_an_error_of_the_ledger_keeps_its_status_and_text(client: Client, ledger: LedgerPeer) -> None:
    request = QuerySamplesRequest(experiment=ledger.experiment, offset=-1)
    call = lambda: client.unary(SAMPLES + "QuerySamples", request, QuerySamplesResponse)  # noqa: E731
    await refused(call, Status.INVALID_ARGUMENT, "-1", "日本")


async def test_a_command_reaches_the_trainer(client: Client, ledger: LedgerPeer, trainer: TrainerPeer) -> None:
    request = PauseRequest(experiment=trainer.experiment)
    assert (await client.unary(EXPERIMENTS + "Pause", request, PauseResponse)).step == 7


async def test_the_status_after_a_pause_says_paused(client: Client, ledger: LedgerPeer, trainer: TrainerPeer) -> None:
    await client.unary(EXPERIMENTS + "Pause", PauseRequest(experiment=trainer.experiment), PauseResponse)
    request = GetExperimentRequest(experiment=trainer.experiment)
    found = (await client.unary(EXPERIMENTS + "GetExperiment", request, GetExperimentResponse)).experiment
    assert found.status is not None
    assert found.status.state == RunState.PAUSED
    assert found.trainer_connected
    assert found.ledger_connected
    assert found.counters.total == 100


async def test_the_list_holds_what_trainers_and_ledgers_know(
    client: Client, bus: Bus, ledger: LedgerPeer, trainer: TrainerPeer
) -> None:
    other = LedgerPeer(bus, ledger.experiment + "-b")
    await other.start()
    lonely = TrainerPeer(bus, ledger.experiment + "-c")
    await lonely.say_status(step=3)
    listed = await client.unary(EXPERIMENTS + "ListExperiments", ListExperimentsRequest(), ListExperimentsResponse)
    ours = [each for each in listed.experiments if each.experiment.startswith(ledger.experiment)]
    assert [each.experiment for each in ours] == [ledger.experiment, other.experiment, lonely.experiment]
    assert [each.ledger_connected for each in ours] == [True, True, False]
    assert ours[2].status is not None
    assert ours[2].status.step == 3


async def test_an_export_carries_every_point_in_chunks(client: Client, bus: Bus, experiment: str) -> None:
    peer = LedgerPeer(bus, experiment, point_count=45_000)
    await peer.start()
    request = ExportPointsRequest(experiment=experiment, keys=[LOSS])
    chunks = [chunk async for chunk in client.stream(SIGNALS + "ExportPoints", request, ExportPointsResponse)]
    assert [chunk.first_ordinal for chunk in chunks] == [0, 20_000, 40_000]
    steps, values = points(0, 45_000)
    assert b"".join(chunk.steps for chunk in chunks) == steps
    assert b"".join(chunk.values for chunk in chunks) == values


async def test_an_unknown_experiment_is_named_with_those_that_exist(
    client: Client, ledger: LedgerPeer, bus: Bus
) -> None:
    # Only the first twenty are named, and the bus of the session may know more: this one comes first.
    first = LedgerPeer(bus, f"0-{ledger.experiment}")
    await first.start()
    request = QuerySamplesRequest(experiment="no-such-thing")
    call = lambda: client.unary(SAMPLES + "QuerySamples", request, QuerySamplesResponse)  # noqa: E731
    await refused(call, Status.NOT_FOUND, "no-such-thing", first.experiment)


async def test_a_name_that_is_no_slug_never_becomes_a_subject(client: Client) -> None:
    request = QuerySamplesRequest(experiment="*.>")
    call = lambda: client.unary(SAMPLES + "QuerySamples", request, QuerySamplesResponse)  # noqa: E731
    await refused(call, Status.INVALID_ARGUMENT, "*.>")


async def test_a_missing_trainer_is_unavailable(client: Client, ledger: LedgerPeer) -> None:
    call = lambda: client.unary(EXPERIMENTS + "Pause", PauseRequest(experiment=ledger.experiment), PauseResponse)  # noqa: E731
    await refused(call, Status.UNAVAILABLE, "trainer")


@pytest.mark.parametrize("token", ["wrong", TOKEN + "x", TOKEN[:-1], "Bearer"])
async def test_a_wrong_token_is_unauthenticated(client: Client, ledger: LedgerPeer, token: str) -> None:
    request = GetExperimentRequest(experiment=ledger.experiment)
    call = lambda: client.unary(EXPERIMENTS + "GetExperiment", request, GetExperimentResponse, token=token)  # noqa: E731
    await refused(call, Status.UNAUTHENTICATED, "token")


async def test_a_viewer_may_not_edit(client: Client, ledger: LedgerPeer) -> None:
    request = EditSamplesRequest(experiment=ledger.experiment, edit_id="e")
    call = lambda: client.unary(SAMPLES + "EditSamples", request, EditSamplesResponse, token=VIEWER_TOKEN)  # noqa: E731
    await refused(call, Status.PERMISSION_DENIED, "EditSamples", "editor", "viewer")
    assert not ledger.edits


async def test_the_author_of_an_edit_is_the_role_unless_given(client: Client, ledger: LedgerPeer) -> None:
    for given, shown in (("", "editor"), ("Ada", "Ada")):
        request = EditSamplesRequest(experiment=ledger.experiment, edit_id="e", author=given)
        reply = await client.unary(SAMPLES + "EditSamples", request, EditSamplesResponse)
        assert reply.edit.author == shown


async def test_an_unknown_method_is_unimplemented(client: Client) -> None:
    call = lambda: client.unary("/weightslab.v1.SampleService/Nothing", GetSampleRequest(), GetSampleResponse)  # noqa: E731
    await refused(call, Status.UNIMPLEMENTED)


async def test_an_oversized_message_is_refused_and_the_next_call_works(client: Client, ledger: LedgerPeer) -> None:
    request = QuerySamplesRequest(experiment=ledger.experiment, filter="x" * (5 * 1024**2))
    call = lambda: client.unary(SAMPLES + "QuerySamples", request, QuerySamplesResponse)  # noqa: E731
    await refused(call, Status.RESOURCE_EXHAUSTED, str(4 * 1024**2))
    request.filter = "x" * (3 * 1024**2)
    reply = await client.unary(SAMPLES + "QuerySamples", request, QuerySamplesResponse)
    assert reply.matched == 3 * 1024**2


async def test_a_fault_tells_nothing_of_the_inside(client: Client, bus: Bus, ledger: LedgerPeer) -> None:
    async def broken(request: GetSampleRequest) -> GetSampleResponse:
        raise RuntimeError("secret path /etc/passwd")

    await bus.serve(subjects.ledger(ledger.experiment, "get_sample"), GetSampleRequest, broken)
    await settle(bus)
    request = GetSampleRequest(experiment=ledger.experiment)
    call = lambda: client.unary(SAMPLES + "GetSample", request, GetSampleResponse)  # noqa: E731
    error = await refused(call, Status.INTERNAL)
    assert "passwd" not in str(error)


async def test_many_calls_at_once_each_get_their_own_answer(client: Client, ledger: LedgerPeer) -> None:
    async def ask(number: int) -> str:
        request = QuerySamplesRequest(experiment=ledger.experiment, filter=str(number))
        return (await client.unary(SAMPLES + "QuerySamples", request, QuerySamplesResponse)).uids[0]

    answers = await asyncio.gather(*(ask(number) for number in range(40)))
    assert answers == [str(number) for number in range(40)]
