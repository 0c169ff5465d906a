"""The C implementation of gRPC as a client of our server: a second opinion on the protocol."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.descriptor_pool import DescriptorPool  # type: ignore[import-untyped]
from weightslab_proto.google.rpc import ErrorInfo
from weightslab_proto.google.rpc import Status as RpcStatus
from weightslab_proto.grpc.reflection.v1 import ServerReflectionRequest, ServerReflectionResponse
from weightslab_proto.weightslab.v1 import (
    QuerySamplesRequest,
    QuerySamplesResponse,
    WatchRequest,
    WatchResponse,
)

from tests.support.studio import TOKEN
from tests.unit.gateway.conftest import Gateway
from tests.unit.gateway.peers import LedgerPeer

QUERY = "/weightslab.v1.SampleService/QuerySamples"
WATCH = "/weightslab.v1.ExperimentService/Watch"
METADATA = (("authorization", f"Bearer {TOKEN}"), ("x-request-id", "my-own-id"))


def _query(channel: Any) -> Any:
    return channel.unary_unary(QUERY, request_serializer=bytes, response_deserializer=QuerySamplesResponse().parse)


def _watch(channel: Any) -> Any:
    return channel.unary_stream(
        WATCH, request_serializer=bytes, response_deserializer=lambda data: WatchResponse().parse(data)
    )


@pytest.fixture
async def channel(gateway: Gateway) -> Any:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.grpc_port}") as channel:
        yield channel


async def test_the_blocking_client_gets_its_reply(gateway: Gateway, ledger: LedgerPeer) -> None:
    def ask() -> QuerySamplesResponse:
        with grpc.insecure_channel(f"127.0.0.1:{gateway.grpc_port}") as channel:
            request = QuerySamplesRequest(experiment=ledger.experiment, filter="日本")
            reply: QuerySamplesResponse = _query(channel)(request, metadata=METADATA, timeout=10)
            return reply

    assert (await asyncio.to_thread(ask)).uids == ["日本"]


async def test_metadata_goes_both_ways(channel: Any, ledger: LedgerPeer) -> None:
    call = _query(channel)(QuerySamplesRequest(experiment=ledger.experiment), metadata=METADATA, timeout=10)
    await call
    assert dict(await call.initial_metadata())["x-request-id"] == "my-own-id"


async def test_an_error_carries_its_text_and_its_details(channel: Any, ledger: LedgerPeer) -> None:
    request = QuerySamplesRequest(experiment=ledger.experiment, offset=-1)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _query(channel)(request, metadata=METADATA, timeout=10)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "日本" in (caught.value.details() or "")
    trailers = dict(caught.value.trailing_metadata())
    status = RpcStatus().parse(trailers["grpc-status-details-bin"])
    info = ErrorInfo().parse(status.details[0].value)
    assert (info.reason, info.metadata["request_id"]) == ("INVALID_ARGUMENT", "my-own-id")


async def test_a_stream_is_read_message_by_message_and_cancelled(channel: Any, ledger: LedgerPeer) -> None:
    call = _watch(channel)(WatchRequest(experiment=ledger.experiment), metadata=METADATA)
    assert (await call.read()).experiment.experiment == ledger.experiment
    for total in (11, 12, 13):
        await ledger.grow(1)
        reply = await call.read()
        while not reply.curves:
            reply = await call.read()
        assert reply.curves[0].point_count == total
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call.read()


async def test_a_deadline_holds(channel: Any, ledger: LedgerPeer) -> None:
    call = _watch(channel)(WatchRequest(experiment=ledger.experiment), metadata=METADATA, timeout=0.5)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        while True:
            await call.read()
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_compressed_requests_are_understood(channel: Any, ledger: LedgerPeer) -> None:
    request = QuerySamplesRequest(experiment=ledger.experiment, filter="x" * 10_000)
    reply = await _query(channel)(request, metadata=METADATA, timeout=10, compression=grpc.Compression.Gzip)
    assert reply.matched == 10_000


async def test_an_oversized_message_is_refused(channel: Any, ledger: LedgerPeer) -> None:
    request = QuerySamplesRequest(experiment=ledger.experiment, filter="x" * (6 * 1024**2))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _query(channel)(request, metadata=METADATA, timeout=10)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_tells_the_whole_api(channel: Any, version: str) -> None:
    path = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
    reflect = channel.stream_stream(
        path, request_serializer=bytes, response_deserializer=lambda data: ServerReflectionResponse().parse(data)
    )

    def requests() -> Iterator[ServerReflectionRequest]:
        yield ServerReflectionRequest(list_services="")
        yield ServerReflectionRequest(file_containing_symbol="weightslab.v1.ExperimentService.Watch")
        yield ServerReflectionRequest(file_by_filename="weightslab/v1/nothing.proto")

    services, files, missing = [reply async for reply in reflect(requests(), metadata=METADATA)]
    names = {service.name for service in services.list_services_response.service}
    assert {"weightslab.v1.ExperimentService", "weightslab.v1.SampleService", "weightslab.v1.SignalService"} <= names
    assert missing.error_response.error_code == 5
    pool = DescriptorPool()
    for file in files.file_descriptor_response.file_descriptor_proto:
        pool.AddSerializedFile(file)
    service = pool.FindServiceByName("weightslab.v1.ExperimentService")
    assert service.methods_by_name["Watch"].server_streaming
