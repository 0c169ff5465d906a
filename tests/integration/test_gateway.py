"""The gateway between real services: what viewers hold is what the ledger stores, also when the gateway is replaced."""

from __future__ import annotations

import asyncio

from grpclib import GRPCError
from grpclib.const import Status
from grpclib.exceptions import StreamTerminatedError

from tests.support.following import Curves, assert_same_as_stored, follow, follow_through
from tests.support.studio import Studio


async def test_a_viewer_holds_exactly_what_the_ledger_stores(studio: Studio) -> None:
    curves = Curves()
    async with asyncio.timeout(60):
        await follow(studio, curves, more_points=200)
        await assert_same_as_stored(studio, curves)


async def test_a_killed_gateway_costs_a_viewer_no_point(studio: Studio) -> None:
    curves = Curves()
    async with asyncio.timeout(90):
        await follow(studio, curves, more_points=100)
        following = asyncio.create_task(follow(studio, curves, more_points=10**9))
        await asyncio.to_thread(studio.processes["gateway"].kill)
        results = await asyncio.gather(following, return_exceptions=True)
        assert isinstance(results[0], StreamTerminatedError | GRPCError | ConnectionError)
        await asyncio.to_thread(studio.start_one, "gateway")
        await follow(studio, curves, more_points=20)
        await assert_same_as_stored(studio, curves)


async def test_a_gateway_is_replaced_under_load_and_every_viewer_holds_every_point_once(studio: Studio) -> None:
    """How soon they are back is measured by `bench/gateway_replaced.py`."""
    viewers = [Curves() for _ in range(15)]
    grew: list[list[float]] = [[] for _ in viewers]
    async with asyncio.timeout(110):
        following = [
            asyncio.create_task(follow_through(studio, curves, grew=times, more_points=10**9))
            for curves, times in zip(viewers, grew, strict=True)
        ]
        await asyncio.gather(*(curves.grew.wait() for curves in viewers))
        for end in (studio.processes["gateway"].kill, studio.processes["gateway"].stop):
            await asyncio.to_thread(end)
            for curves in viewers:
                curves.grew.clear()
            await asyncio.to_thread(studio.start_one, "gateway")
            await asyncio.gather(*(curves.grew.wait() for curves in viewers))
        # A viewer that is stopped while it fetches a new curve holds none of it yet.
        for curves in viewers:
            while not all(curves.steps.values()):
                curves.grew.clear()
                await curves.grew.wait()
        for task in following:
            task.cancel()
        await asyncio.gather(*following, return_exceptions=True)
        # Each has told of a lost point by itself; a doubled one shows here.
        for curves in viewers:
            await assert_same_as_stored(studio, curves)


async def test_a_gateway_that_is_stopped_says_so_to_its_viewers(studio: Studio) -> None:
    curves = Curves()
    async with asyncio.timeout(60):
        await follow(studio, curves, more_points=50)
        following = asyncio.create_task(follow(studio, curves, more_points=10**9))
        curves.grew.clear()
        await curves.grew.wait()
        status = await asyncio.to_thread(studio.processes["gateway"].stop)
        results = await asyncio.gather(following, return_exceptions=True)
        await asyncio.to_thread(studio.start_one, "gateway")
    assert status == 0
    assert isinstance(results[0], GRPCError)
    assert results[0].status is Status.UNAVAILABLE
