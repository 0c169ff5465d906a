"""Viewers that do not read: they are dropped, and cost nothing to others."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
import pytest
from grpclib.client import Channel
from grpclib.config import Configuration
from weightslab_common.bus import Bus
from weightslab_proto.weightslab.v1 import WatchRequest

from tests.support.grpcweb import BINARY, frame
from tests.support.studio import TOKEN, Api
from tests.unit.gateway.conftest import Gateway, running_gateway
from tests.unit.gateway.peers import LedgerPeer, TrainerPeer
from tests.unit.gateway.test_watch import WATCH, Viewer, watching


@pytest.fixture
async def impatient(nats_url: str, tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running_gateway(nats_url, tmp_path, send_timeout_secs=1.0) as gateway:
        yield gateway


async def _grow_until_dropped(gateway: Gateway, ledger: LedgerPeer, trainer: TrainerPeer) -> None:
    """Store points, as many as fill every buffer on the way, until a viewer is dropped."""
    async with asyncio.timeout(40):
        while await gateway.metric("wl_gateway_viewers_dropped_total") == 0:
            for _ in range(20):
                await ledger.grow(1900)
                # The pace of a viewer is ten messages a second; status changes go at once and carry points, too.
                await trainer.say_status()


async def test_a_web_viewer_that_does_not_read_is_cut_off_and_others_see_everything(
    impatient: Gateway, ledger: LedgerPeer, trainer: TrainerPeer
) -> None:
    request = WatchRequest(experiment=ledger.experiment)
    body = frame(bytes(request))
    head = (
        f"POST {WATCH} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {BINARY}\r\nauthorization: Bearer {TOKEN}\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    with socket.socket() as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(stuck, ("127.0.0.1", impatient.web_port))
        await loop.sock_sendall(stuck, head.encode() + body)
        async with watching(impatient, request, BINARY) as viewer:
            dropped = asyncio.Event()
            reading = asyncio.create_task(
                viewer.until(lambda: dropped.is_set() and viewer.point_count == ledger.point_count)
            )
            await _grow_until_dropped(impatient, ledger, trainer)
            dropped.set()
            await ledger.grow(1)
            await reading
        # It is cut off, unless it reads just then: then it is told why.
        received = b""
        with contextlib.suppress(ConnectionResetError):
            async with asyncio.timeout(10):
                while b"does not read" not in received[-4096:] and (chunk := await loop.sock_recv(stuck, 1 << 20)):
                    received += chunk
        assert await impatient.metric("wl_gateway_calls_running ") == 0


async def test_a_grpc_viewer_that_does_not_read_is_told_why_it_was_dropped(
    impatient: Gateway, ledger: LedgerPeer, trainer: TrainerPeer
) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{impatient.grpc_port}") as channel:
        watch = channel.unary_stream(WATCH, request_serializer=bytes, response_deserializer=None)
        call = watch(WatchRequest(experiment=ledger.experiment), metadata=(("authorization", f"Bearer {TOKEN}"),))
        await call.read()
        await _grow_until_dropped(impatient, ledger, trainer)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            while True:
                await call.read()
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "does not read" in (caught.value.details() or "")


async def test_a_viewer_that_pauses_gets_merged_points_and_every_edit(
    gateway: Gateway, bus: Bus, ledger: LedgerPeer
) -> None:
    small_window = Configuration(http2_stream_window_size=2**16, http2_connection_window_size=2**20)
    async with Channel("127.0.0.1", gateway.grpc_port, config=small_window) as channel:
        viewer = Viewer(Api(channel, TOKEN).experiments.watch(WatchRequest(experiment=ledger.experiment)))
        await viewer.read()
        for _ in range(60):
            await ledger.grow(300)
            await ledger.edit()
            await asyncio.sleep(0.01)
        await viewer.until(lambda: viewer.point_count == ledger.point_count and len(viewer.revisions) == 60)
    assert viewer.revisions == list(range(1, 61))
    assert len(viewer.replies) < 120
