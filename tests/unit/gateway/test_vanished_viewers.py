"""Viewers that vanish without a word: nothing ends their connection, they just do not answer any more."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from grpclib.client import Channel
from weightslab_common.embedded import free_port
from weightslab_gateway.protocol_grpc import server
from weightslab_proto.weightslab.v1 import WatchRequest, WatchResponse

from tests.support.grpcweb import GrpcWebClient
from tests.support.proxy import FaultyProxy, Trouble
from tests.support.studio import TOKEN, Api
from tests.unit.gateway.conftest import running_gateway
from tests.unit.gateway.peers import LedgerPeer
from tests.unit.gateway.test_watch import WATCH


async def test_a_viewer_behind_a_silent_network_is_given_up_and_one_that_is_idle_is_not(
    nats_url: str, tmp_path: Path, ledger: LedgerPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "PING_SECS", 0.5)
    # Generous: the one that is there answers from this very loop.
    monkeypatch.setattr(server, "PING_TIMEOUT_SECS", 5.0)
    async with running_gateway(nats_url, tmp_path) as gateway:
        proxy = FaultyProxy(gateway.grpc_port, free_port())
        await asyncio.to_thread(proxy.start)
        request = WatchRequest(experiment=ledger.experiment)
        try:
            async with gateway.api() as stays, Api(Channel("127.0.0.1", proxy.port), TOKEN) as vanishes:
                staying = aiter(stays.experiments.watch(request))
                await anext(staying)
                vanishing = aiter(vanishes.experiments.watch(request))
                await anext(vanishing)
                assert await gateway.metric("wl_gateway_viewers ") == 2
                # From now on bytes are taken and lost: for the kernel all is well.
                await asyncio.to_thread(proxy.trouble, Trouble(silent=True))
                async with asyncio.timeout(60):
                    while await gateway.metric("wl_gateway_viewers ") == 2:  # noqa: ASYNC110
                        await asyncio.sleep(0.05)
                assert await gateway.metric("wl_gateway_viewers ") == 1
                await ledger.grow(5)
                async with asyncio.timeout(60):
                    while not any(delta.point_count == ledger.point_count for delta in (await anext(staying)).curves):
                        pass
        finally:
            await asyncio.to_thread(proxy.stop)


async def test_a_web_viewer_behind_a_proxy_that_swallows_everything_stays_for_a_bounded_time(
    nats_url: str, tmp_path: Path, ledger: LedgerPeer
) -> None:
    async with running_gateway(nats_url, tmp_path, max_watch_secs=2.0) as gateway:
        proxy = FaultyProxy(gateway.web_port, free_port())
        await asyncio.to_thread(proxy.start)
        web = GrpcWebClient(f"http://127.0.0.1:{proxy.port}", token=TOKEN)
        try:
            vanishing = web.stream(WATCH, WatchRequest(experiment=ledger.experiment), WatchResponse)
            await anext(vanishing)
            await asyncio.to_thread(proxy.trouble, Trouble(silent=True))
            async with asyncio.timeout(30):
                while await gateway.metric("wl_gateway_viewers "):  # noqa: ASYNC110
                    # Without news, too: nothing here would ever fail to be sent.
                    await asyncio.sleep(0.05)
        finally:
            await asyncio.to_thread(proxy.stop)
            await web.close()
