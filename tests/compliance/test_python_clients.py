"""Python's gRPC clients pass the suite of the JavaScript ones: grpclib, and grpcio blocking and with asyncio."""

from __future__ import annotations

import asyncio
import functools
import queue
import threading
import time
from abc import ABC, abstractmethod
from asyncio.selector_events import _SelectorSocketTransport  # type: ignore[attr-defined]
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import betterproto
import grpc
import grpc.aio
import pytest
from grpclib import GRPCError
from grpclib.client import Channel
from grpclib.config import Configuration
from grpclib.const import Cardinality
from weightslab_common.bus import Bus
from weightslab_proto.google.rpc import ErrorInfo
from weightslab_proto.google.rpc import Status as RpcStatus
from weightslab_proto.weightslab.v1 import (
    ExportPointsRequest,
    ExportPointsResponse,
    ListExperimentsRequest,
    ListExperimentsResponse,
    QuerySamplesRequest,
    QuerySamplesResponse,
    SampleServiceStub,
    WatchRequest,
    WatchResponse,
)

from tests.compliance.slow_ledger import PAGE_POINTS, PAGES, SlowLedger
from tests.support.studio import TOKEN
from tests.unit.gateway.conftest import Gateway, running_gateway
from tests.unit.gateway.peers import points

MAX_MESSAGE_BYTES = 1024**2
UNICODE = 'Zürich 日本 🙂 "quoted" %41'
QUERY = ("/weightslab.v1.SampleService/QuerySamples", QuerySamplesResponse)
LIST = ("/weightslab.v1.ExperimentService/ListExperiments", ListExperimentsResponse)
EXPORT = ("/weightslab.v1.SignalService/ExportPoints", ExportPointsResponse)
WATCH = ("/weightslab.v1.ExperimentService/Watch", WatchResponse)
Method = tuple[str, type[betterproto.Message]]


class Failed(Exception):
    """How a call failed: the name of its status, its text, and the reason in its details."""

    def __init__(self, status: str, text: str, reason: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status, self.text, self.reason = status, text, reason


def _reason(details: bytes | None) -> str:
    if not details:
        return ""
    return ErrorInfo().parse(RpcStatus().parse(details).details[0].value).reason


class Client(ABC):
    """What the suite asks of a client, whichever library it is."""

    @abstractmethod
    async def unary(
        self, method: Method, request: betterproto.Message, metadata: dict[str, str], timeout_secs: float | None = None
    ) -> tuple[Any, dict[str, str]]:
        """The reply and the initial metadata. Raises Failed."""

    @abstractmethod
    def stream(
        self, method: Method, request: betterproto.Message, metadata: dict[str, str], timeout_secs: float | None = None
    ) -> AsyncIterator[Any]:
        """The replies as they come. Raises Failed."""

    @abstractmethod
    async def close(self) -> None: ...


class Grpclib(Client):
    def __init__(self, port: int) -> None:
        self._channel = Channel("127.0.0.1", port, config=Configuration(http2_stream_window_size=2**22))
        self._stub = SampleServiceStub(self._channel)

    async def unary(
        self, method: Method, request: betterproto.Message, metadata: dict[str, str], timeout_secs: float | None = None
    ) -> tuple[Any, dict[str, str]]:
        path, reply_type = method
        try:
            async with self._channel.request(
                path, Cardinality.UNARY_UNARY, type(request), reply_type, metadata=metadata, timeout=timeout_secs
            ) as stream:
                await stream.send_message(request, end=True)
                reply = await stream.recv_message()
                initial = {name: str(value) for name, value in (stream.initial_metadata or {}).items()}
        except GRPCError as error:
            raise self._failed(error) from error
        except TimeoutError as error:
            raise Failed("DEADLINE_EXCEEDED", "", "") from error
        return reply, initial

    async def stream(
        self, method: Method, request: betterproto.Message, metadata: dict[str, str], timeout_secs: float | None = None
    ) -> AsyncIterator[Any]:
        path, reply_type = method
        replies = self._stub._unary_stream(path, request, reply_type, metadata=metadata, timeout=timeout_secs)
        try:
            async with aclosing(replies):  # type: ignore[type-var]
                async for reply in replies:
                    yield reply
        except GRPCError as error:
            raise self._failed(error) from error
        except TimeoutError as error:
            raise Failed("DEADLINE_EXCEEDED", "", "") from error

    @staticmethod
    def _failed(error: GRPCError) -> Failed:
        # Without a codec for details this library hands on none; they are on the wire all the same.
        return Failed(error.status.name, error.message or "", error.status.name)

    async def close(self) -> None:
        self._channel.close()


def _failed(error: Any) -> Failed:
    trailers = dict(error.trailing_metadata() or ())
    return Failed(error.code().name, error.details() or "", _reason(trailers.get("grpc-status-details-bin")))


def _pairs(metadata: dict[str, str]) -> list[tuple[str, str]]:
    return list(metadata.items())


class GrpcioAio(Client):
    def __init__(self, port: int) -> None:
        self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")

    async def unary(
        self, method: Method, request: betterproto.Message, metadata: dict[str, str], timeout_secs: float | None = None
    ) -> tuple[Any, dict[str, str]]:
        path, reply_type = method
        call = self._channel.unary_unary(path, request_serializer=bytes, response_deserializer=reply_type().parse)(
            request, metadata=_pairs(metadata), timeout=timeout_secs
        )
        try:
            return await call, dict(await call.initial_metadata())
        except grpc.aio.AioRpcError as error:
            raise _failed(error) from error

    async def stream(
        self, method: Method, request: betterproto.Message, metadata: dict[str, str], timeout_secs: float | None = None
    ) -> AsyncIterator[Any]:
        path, reply_type = method
        parse: Callable[[bytes], Any] = lambda data: reply_type().parse(data)  # noqa: E731
        call = self._channel.unary_stream(path, request_serializer=bytes, response_deserializer=parse)(
            request, metadata=_pairs(metadata), timeout=timeout_secs
        )
        try:
            async for reply in call:
                yield reply
        except grpc.aio.AioRpcError as error:
            raise _failed(error) from error
        finally:
            call.cancel()

    async def close(self) -> None:
        await self._channel.close()


class GrpcioBlocking(Client):
    """Each call in a thread, as a script makes it."""

    def __init__(self, port: int) -> None:
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}")

    async def unary(
        self, method: Method, request: betterproto.Message, metadata: dict[str, str], timeout_secs: float | None = None
    ) -> tuple[Any, dict[str, str]]:
        path, reply_type = method
        call = self._channel.unary_unary(path, request_serializer=bytes, response_deserializer=reply_type().parse)
        ask = functools.partial(call.with_call, request, metadata=_pairs(metadata), timeout=timeout_secs)
        try:
            reply, answered = await asyncio.to_thread(ask)
        except grpc.RpcError as error:
            raise _failed(error) from error
        return reply, dict(answered.initial_metadata())

    async def stream(
        self, method: Method, request: betterproto.Message, metadata: dict[str, str], timeout_secs: float | None = None
    ) -> AsyncIterator[Any]:
        path, reply_type = method
        parse: Callable[[bytes], Any] = lambda data: reply_type().parse(data)  # noqa: E731
        call = self._channel.unary_stream(path, request_serializer=bytes, response_deserializer=parse)(
            request, metadata=_pairs(metadata), timeout=timeout_secs
        )
        replies: queue.SimpleQueue[Any] = queue.SimpleQueue()
        reading = threading.Thread(target=_read_all, args=(call, replies))
        reading.start()
        try:
            while not isinstance(item := await asyncio.to_thread(replies.get), Exception | None):
                yield item
            if isinstance(item, Exception):
                raise _failed(item) from item
        finally:
            call.cancel()
            await asyncio.to_thread(reading.join)

    async def close(self) -> None:
        await asyncio.to_thread(self._channel.close)


def _read_all(call: Iterable[Any], replies: queue.SimpleQueue[Any]) -> None:
    try:
        for reply in call:
            replies.put(reply)
    except grpc.RpcError as error:
        replies.put(error)
    else:
        replies.put(None)


@pytest.fixture
async def gateway(nats_url: str, tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running_gateway(nats_url, tmp_path, max_message_bytes=MAX_MESSAGE_BYTES) as gateway:
        yield gateway


@pytest.fixture(params=[Grpclib, GrpcioBlocking, GrpcioAio], ids=["grpclib", "grpcio", "grpcio.aio"])
async def client(request: pytest.FixtureRequest, gateway: Gateway) -> AsyncIterator[Client]:
    client: Client = request.param(gateway.grpc_port)
    yield client
    await client.close()


async def _ledger(nats_url: str, name: str, *, broken: bool) -> AsyncIterator[str]:
    bus = await Bus.connect(nats_url, name="peers")
    await bus.ensure_streams()
    await SlowLedger(bus, name, broken=broken).start()
    yield name
    await bus.close()


@pytest.fixture
async def steady(nats_url: str, experiment: str) -> AsyncIterator[str]:
    async for name in _ledger(nats_url, experiment, broken=False):
        yield name


@pytest.fixture
async def broken(nats_url: str, experiment: str) -> AsyncIterator[str]:
    async for name in _ledger(nats_url, f"{experiment}-b", broken=True):
        yield name


@pytest.fixture
def experiment() -> str:
    return f"python-{time.monotonic_ns()}"


METADATA = {"authorization": f"Bearer {TOKEN}"}


async def test_unicode_and_metadata_go_both_ways(client: Client, steady: str) -> None:
    request = QuerySamplesRequest(experiment=steady, filter=UNICODE)
    reply, initial = await client.unary(QUERY, request, METADATA | {"x-request-id": "of-the-client.1"})
    assert reply.uids == [UNICODE]
    assert initial["x-request-id"] == "of-the-client.1"
    empty, _ = await client.unary(LIST, ListExperimentsRequest(), METADATA)
    assert steady in [known.experiment for known in empty.experiments]


async def test_an_error_has_a_unicode_text_and_details(client: Client, steady: str) -> None:
    with pytest.raises(Failed, match="ja: 日本") as caught:
        await client.unary(QUERY, QuerySamplesRequest(experiment=steady, offset=-1), METADATA)
    assert (caught.value.status, caught.value.reason) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT")


async def test_a_refusal_comes_before_any_message(client: Client, steady: str) -> None:
    wrong = {"authorization": "Bearer wrong"}
    with pytest.raises(Failed, match="UNAUTHENTICATED"):
        await client.unary(QUERY, QuerySamplesRequest(experiment=steady), wrong)
    with pytest.raises(Failed, match="UNAUTHENTICATED"):
        async with aclosing(client.stream(EXPORT, ExportPointsRequest(experiment=steady), wrong)) as stream:  # type: ignore[type-var]
            async for _ in stream:
                pytest.fail("a message came")


async def test_a_stream_comes_message_by_message_to_its_end(client: Client, steady: str) -> None:
    arrivals, points = [], 0
    async for chunk in client.stream(EXPORT, ExportPointsRequest(experiment=steady), METADATA):
        arrivals.append(time.monotonic())
        points += len(chunk.values) // 8
    assert points == PAGE_POINTS * PAGES
    assert len(arrivals) == PAGES
    # The ledger pauses before each page, so they cannot have come together.
    assert arrivals[-1] - arrivals[0] > 0.2


async def test_a_stream_may_fail_in_its_middle_with_details(client: Client, broken: str) -> None:
    points = 0
    with pytest.raises(Failed, match="mitten drin: 日本") as caught:
        async for chunk in client.stream(EXPORT, ExportPointsRequest(experiment=broken), METADATA):
            points += len(chunk.values) // 8
    assert points == 2 * PAGE_POINTS
    assert (caught.value.status, caught.value.reason) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT")


async def test_a_deadline_holds_and_the_call_is_ended(client: Client, gateway: Gateway, steady: str) -> None:
    with pytest.raises(Failed, match="DEADLINE_EXCEEDED"):
        await client.unary(QUERY, QuerySamplesRequest(experiment=steady, filter="slow"), METADATA, timeout_secs=0.5)
    with pytest.raises(Failed, match="DEADLINE_EXCEEDED"):
        async for _ in client.stream(WATCH, WatchRequest(experiment=steady), METADATA, timeout_secs=0.5):
            pass
    await _until(gateway, "wl_gateway_calls_running ", 0)


async def test_who_leaves_a_stream_leaves_nothing_behind(client: Client, gateway: Gateway, steady: str) -> None:
    async with aclosing(client.stream(WATCH, WatchRequest(experiment=steady), METADATA)) as stream:  # type: ignore[type-var]
        await anext(stream)
    await _until(gateway, "wl_gateway_viewers ", 0)


@pytest.mark.parametrize("over", [0, 1])
async def test_messages_are_taken_up_to_the_limit(client: Client, steady: str, over: int) -> None:
    overhead = len(bytes(QuerySamplesRequest(experiment=steady, filter="x" * (MAX_MESSAGE_BYTES // 2))))
    overhead -= MAX_MESSAGE_BYTES // 2
    request = QuerySamplesRequest(experiment=steady, filter="x" * (MAX_MESSAGE_BYTES - overhead + over))
    assert len(bytes(request)) == MAX_MESSAGE_BYTES + over
    if over:
        with pytest.raises(Failed, match="RESOURCE_EXHAUSTED"):
            await client.unary(QUERY, request, METADATA)
    else:
        reply, _ = await client.unary(QUERY, request, METADATA)
        assert len(reply.uids[0]) == len(request.filter)


async def test_a_large_reply_is_compressed_for_clients_that_take_that(
    client: Client, gateway: Gateway, steady: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent_bytes = 0
    sends = _SelectorSocketTransport.write

    def write(self: _SelectorSocketTransport, data: bytes) -> None:
        nonlocal sent_bytes
        if self.get_extra_info("sockname")[1] == gateway.grpc_port:
            sent_bytes += len(data)
        sends(self, data)

    monkeypatch.setattr(_SelectorSocketTransport, "write", write)
    request = QuerySamplesRequest(experiment=steady, filter="page of samples " * 20_000)
    reply, _ = await client.unary(QUERY, request, METADATA)
    assert reply.uids == [request.filter]
    # grpclib says nothing of compression, and knows no compressed message.
    takes_gzip = not isinstance(client, Grpclib)
    assert (sent_bytes < len(request.filter) / 10) is takes_gzip


async def test_a_compressed_stream_comes_whole(client: Client, steady: str) -> None:
    steps, values = points(0, PAGE_POINTS * PAGES)
    chunks = [chunk async for chunk in client.stream(EXPORT, ExportPointsRequest(experiment=steady), METADATA)]
    assert b"".join(chunk.steps for chunk in chunks) == steps
    assert b"".join(chunk.values for chunk in chunks) == values


@pytest.mark.parametrize("over", [0, 1])
async def test_compressed_requests_are_limited_by_what_they_unpack_to(gateway: Gateway, steady: str, over: int) -> None:
    overhead = len(bytes(QuerySamplesRequest(experiment=steady, filter="x" * (MAX_MESSAGE_BYTES // 2))))
    overhead -= MAX_MESSAGE_BYTES // 2
    request = QuerySamplesRequest(experiment=steady, filter="x" * (MAX_MESSAGE_BYTES - overhead + over))
    async with grpc.aio.insecure_channel(
        f"127.0.0.1:{gateway.grpc_port}", compression=grpc.Compression.Gzip
    ) as channel:
        ask = channel.unary_unary(
            QUERY[0], request_serializer=bytes, response_deserializer=QuerySamplesResponse().parse
        )
        if over:
            with pytest.raises(grpc.aio.AioRpcError, match="unpacks to more") as refused:
                await ask(request, metadata=_pairs(METADATA))
            assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        else:
            assert (await ask(request, metadata=_pairs(METADATA))).uids == [request.filter]


async def _until(gateway: Gateway, metric: str, value: float) -> None:
    async with asyncio.timeout(30):
        # Nothing tells when a number has changed.
        while await gateway.metric(metric) != value:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
