"""The gateway between real services: what viewers hold is what the ledger stores, also when the gateway is replaced."""

from __future__ import annotations

import asyncio

from grpclib import GRPCError
from grpclib.const import Status
from grpclib.exceptions import StreamTerminatedError
from weightslab_proto.weightslab.v1 import (
    CurveKey,
    CurvePosition,
    ExportPointsRequest,
    GetCurvesRequest,
    WatchRequest,
)

from tests.support.studio import EXPERIMENT, Api, Studio

Key = tuple[str, str, int]


class Curves:
    """What a viewer holds of every curve."""

    def __init__(self) -> None:
        self.steps: dict[Key, bytes] = {}
        self.values: dict[Key, bytes] = {}
        self.keys: dict[Key, CurveKey] = {}
        self.grew = asyncio.Event()

    def held_count(self, key: Key) -> int:
        return len(self.steps.get(key, b"")) // 8

    @property
    def positions(self) -> list[CurvePosition]:
        return [CurvePosition(key=curve, point_count=self.held_count(key)) for key, curve in self.keys.items()]

    def extend(self, curve: CurveKey, first: int, steps: bytes, values: bytes) -> None:
        """Add points from `first` on, as the contract says: known ones are ignored, none may be missing."""
        key = (curve.branch, curve.signal, int(curve.mode))
        self.keys[key] = curve
        known = self.held_count(key) - first
        assert known >= 0, "a point was lost"
        self.steps[key] = self.steps.get(key, b"") + steps[known * 8 :]
        self.values[key] = self.values.get(key, b"") + values[known * 8 :]
        self.grew.set()

    async def fetch(self, api: Api, curve: CurveKey, upto: int) -> None:
        """Ask for what a message has left out."""
        key = (curve.branch, curve.signal, int(curve.mode))
        while self.held_count(key) < upto:
            first = self.held_count(key)
            request = GetCurvesRequest(
                experiment=EXPERIMENT, keys=[curve], first_ordinal=first, budget=100_000, raw=True
            )
            reply = await api.signals.get_curves(request)
            self.extend(curve, first, reply.curves[0].steps, reply.curves[0].values)


async def _follow(studio: Studio, curves: Curves, *, more_points: int) -> None:
    """Watch until the viewer holds so many points more than it did; every point is held once."""
    before = sum(map(curves.held_count, curves.keys))
    async with studio.api() as api:
        stream = api.experiments.watch(WatchRequest(experiment=EXPERIMENT, positions=curves.positions))
        async for reply in stream:
            for delta in reply.curves:
                key = (delta.key.branch, delta.key.signal, int(delta.key.mode))
                if delta.first_ordinal <= curves.held_count(key):
                    curves.extend(delta.key, delta.first_ordinal, delta.steps, delta.values)
                if curves.held_count(key) < delta.point_count:
                    await curves.fetch(api, delta.key, delta.point_count)
            if sum(map(curves.held_count, curves.keys)) - before >= more_points:
                return


async def _assert_same_as_stored(studio: Studio, curves: Curves) -> None:
    stored_steps: dict[Key, bytes] = {}
    stored_values: dict[Key, bytes] = {}
    async with studio.api() as api:
        request = ExportPointsRequest(experiment=EXPERIMENT, keys=list(curves.keys.values()))
        async for chunk in api.signals.export_points(request):
            key = (chunk.key.branch, chunk.key.signal, int(chunk.key.mode))
            stored_steps[key] = stored_steps.get(key, b"") + chunk.steps
            stored_values[key] = stored_values.get(key, b"") + chunk.values
    for key, steps in curves.steps.items():
        assert steps, f"nothing of {key}"
        assert stored_steps[key][: len(steps)] == steps
        assert stored_values[key][: len(steps)] == curves.values[key]


async def test_a_viewer_holds_exactly_what_the_ledger_stores(studio: Studio) -> None:
    curves = Curves()
    async with asyncio.timeout(60):
        await _follow(studio, curves, more_points=200)
        await _assert_same_as_stored(studio, curves)


async def test_a_killed_gateway_costs_a_viewer_no_point_and_less_than_three_seconds(studio: Studio) -> None:
    curves = Curves()
    async with asyncio.timeout(90):
        await _follow(studio, curves, more_points=100)
        following = asyncio.create_task(_follow(studio, curves, more_points=10**9))
        await asyncio.to_thread(studio.processes["gateway"].kill)
        results = await asyncio.gather(following, return_exceptions=True)
        assert isinstance(results[0], StreamTerminatedError | GRPCError | ConnectionError)
        await asyncio.to_thread(studio.start_one, "gateway")
        async with asyncio.timeout(3):
            await _follow(studio, curves, more_points=20)
        await _assert_same_as_stored(studio, curves)


async def test_a_gateway_that_is_stopped_says_so_to_its_viewers(studio: Studio) -> None:
    curves = Curves()
    async with asyncio.timeout(60):
        await _follow(studio, curves, more_points=50)
        following = asyncio.create_task(_follow(studio, curves, more_points=10**9))
        curves.grew.clear()
        await curves.grew.wait()
        status = await asyncio.to_thread(studio.processes["gateway"].stop)
        results = await asyncio.gather(following, return_exceptions=True)
        await asyncio.to_thread(studio.start_one, "gateway")
    assert status == 0
    assert isinstance(results[0], GRPCError)
    assert results[0].status is Status.UNAVAILABLE
