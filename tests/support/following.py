"""Viewers that keep what they are told as the page does, and come back when their gateway goes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

from grpclib import GRPCError
from grpclib.exceptions import StreamTerminatedError
from weightslab_proto.weightslab.v1 import (
    CurveKey,
    CurvePosition,
    ExportPointsRequest,
    GetCurvesRequest,
    WatchRequest,
)

from tests.support.studio import EXPERIMENT, Api, Studio

# How a viewer learns that its gateway has gone.
GONE = (StreamTerminatedError, GRPCError, OSError)

Key = tuple[str, str, int]


class Curves:
    """What a viewer holds of every curve."""

    def __init__(self) -> None:
        self.steps: dict[Key, bytes] = {}
        self.values: dict[Key, bytes] = {}
        self.keys: dict[Key, CurveKey] = {}
        self.grew = asyncio.Event()
        self.on_growth: Callable[[], None] = lambda: None

    @property
    def total(self) -> int:
        """Points of all curves together."""
        return sum(map(self.held_count, self.keys))

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
        self.on_growth()

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


async def follow(studio: Studio, curves: Curves, *, more_points: int) -> None:
    """Watch until the viewer holds so many points more than it did; every point is held once."""
    before = curves.total
    async with studio.api() as api:
        stream = api.experiments.watch(WatchRequest(experiment=EXPERIMENT, positions=curves.positions))
        async for reply in stream:
            for delta in reply.curves:
                key = (delta.key.branch, delta.key.signal, int(delta.key.mode))
                if delta.first_ordinal <= curves.held_count(key):
                    curves.extend(delta.key, delta.first_ordinal, delta.steps, delta.values)
                if curves.held_count(key) < delta.point_count:
                    await curves.fetch(api, delta.key, delta.point_count)
            if curves.total - before >= more_points:
                return


async def assert_same_as_stored(studio: Studio, curves: Curves) -> None:
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


async def follow_through(studio: Studio, curves: Curves, *, grew: list[float], more_points: int) -> None:
    """As `follow`, and again from where it stands whenever the gateway goes; notes in `grew` when points came."""

    def note() -> None:
        grew.append(time.monotonic())

    curves.on_growth = note
    before = curves.total
    while (left := more_points - (curves.total - before)) > 0:
        with contextlib.suppress(*GONE):
            await follow(studio, curves, more_points=left)
            return
        # As a page does: at once, then a little later.
        await asyncio.sleep(0.2)
