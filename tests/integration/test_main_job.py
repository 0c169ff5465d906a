"""The main job, done by each kind of client on the same real run."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from weightslab.demo.digits import swapped_uids
from weightslab_proto.weightslab.v1 import (
    EditOperation,
    EditSamplesResponse,
    PauseRequest,
    PauseResponse,
    ResumeRequest,
    ResumeResponse,
)

from tests.support.grpcweb import BINARY, TEXT, GrpcWebClient
from tests.support.main_job import GrpcHand, do_the_main_job, edit_request
from tests.support.studio import EXPERIMENT, Studio

pytestmark = [pytest.mark.timeout(300)]


class WebHand:
    """Acts through gRPC-Web."""

    def __init__(self, client: GrpcWebClient) -> None:
        self._client = client

    async def _edit(self, operation: EditOperation, uids: list[str], tag: str = "") -> None:
        request = edit_request(operation, uids, tag=tag)
        await self._client.unary("/weightslab.v1.SampleService/EditSamples", request, EditSamplesResponse)

    async def pause(self) -> None:
        path = "/weightslab.v1.ExperimentService/Pause"
        await self._client.unary(path, PauseRequest(experiment=EXPERIMENT), PauseResponse)

    async def resume(self) -> None:
        path = "/weightslab.v1.ExperimentService/Resume"
        await self._client.unary(path, ResumeRequest(experiment=EXPERIMENT), ResumeResponse)

    async def tag(self, uids: list[str], tag: str) -> None:
        await self._edit(EditOperation.ADD_TAG, uids, tag)

    async def discard(self, uids: list[str]) -> None:
        await self._edit(EditOperation.DISCARD, uids)

    async def restore(self, uids: list[str]) -> None:
        await self._edit(EditOperation.RESTORE, uids)


class ConsoleHand:
    """Acts by lines typed into the console."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def say(self, line: str) -> dict[str, Any]:
        self._writer.write(line.encode() + b"\n")
        await self._writer.drain()
        reply: dict[str, Any] = json.loads(await self._reader.readline())
        assert reply["ok"], reply
        return reply

    async def pause(self) -> None:
        await self.say("pause")

    async def resume(self) -> None:
        await self.say("r")

    async def tag(self, uids: list[str], tag: str) -> None:
        for uid in uids:
            await self.say(f'add_tag {uid} "{tag}" --loader train')

    async def discard(self, uids: list[str]) -> None:
        await self.say(f"discard {' '.join(uids)} --loader train")

    async def restore(self, uids: list[str]) -> None:
        await self.say(f"undiscard {' '.join(uids)} --loader train")


async def test_through_grpc(studio: Studio) -> None:
    async with studio.api() as api:
        await do_the_main_job(api, GrpcHand(api), swapped=swapped_uids())


@pytest.mark.parametrize("content_type", [BINARY, TEXT])
async def test_through_grpc_web(studio: Studio, content_type: str) -> None:
    client = studio.web(content_type=content_type)
    try:
        async with studio.api() as api:
            await do_the_main_job(api, WebHand(client), swapped=swapped_uids())
    finally:
        await client.close()


async def test_through_the_console(studio: Studio) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", studio.console_port)
    try:
        async with studio.api() as api:
            await do_the_main_job(api, ConsoleHand(reader, writer), swapped=swapped_uids())
    finally:
        writer.close()
        await writer.wait_closed()
