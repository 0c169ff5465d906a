"""Telling everyone what was stored: at most ten times a second, and at least once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from weightslab_common.columns import F64, I64, pack
from weightslab_proto.weightslab.bus.v1 import LiveUpdate
from weightslab_proto.weightslab.v1 import Counters, CurveDelta

from weightslab_ledger.curves import Curve, CurveTable, Key

TICK_SECS = 0.1
BEAT_SECS = 1.0
# Beyond these the older points are left out; whoever wants them fetches them.
_MAX_POINTS_PER_CURVE = 1000
_MAX_POINTS = 20_000


class LiveFeed:
    """Makes updates of what is new since the last one."""

    def __init__(
        self,
        *,
        ledger_id: str,
        curves: CurveTable,
        revision: Callable[[], int],
        value_version: Callable[[], int],
        counters: Callable[[], Counters],
    ) -> None:
        self._ledger_id = ledger_id
        self._curves = curves
        self._revision = revision
        self._value_version = value_version
        self._counters = counters
        self._told: dict[Key, int] = {key: curve.count for key, curve in curves.curves.items()}
        self._state: tuple[int, int, int, int] = (-1, -1, -1, -1)
        self._last = 0.0

    def due(self, now: float) -> LiveUpdate | None:
        """An update when something is new or a second has passed."""
        deltas = self._deltas()
        counters = self._counters()
        state = (self._revision(), self._value_version(), counters.total, counters.active)
        if not deltas and state == self._state and now - self._last < BEAT_SECS:
            return None
        self._state, self._last = state, now
        return LiveUpdate(
            curves=deltas,
            revision=state[0],
            value_version=state[1],
            counters=counters,
            ledger_id=self._ledger_id,
        )

    def _deltas(self) -> list[CurveDelta]:
        deltas = []
        room = _MAX_POINTS
        for key, curve in self._curves.curves.items():
            told = self._told.get(key, 0)
            if curve.count > told:
                deltas.append(_delta(curve, max(told, curve.count - min(room, _MAX_POINTS_PER_CURVE))))
                room = max(1, room - (curve.count - told))
                self._told[key] = curve.count
        return deltas

    async def run(self, publish: Callable[[LiveUpdate], Awaitable[None]]) -> None:
        """Publish for ever."""
        while True:
            update = self.due(time.monotonic())
            if update is not None:
                await publish(update)
            await asyncio.sleep(TICK_SECS)


def _delta(curve: Curve, first: int) -> CurveDelta:
    return CurveDelta(
        key=curve.key.message(),
        first_ordinal=first,
        steps=pack(curve.steps[first:], I64),
        values=pack(curve.values[first:], F64),
        point_count=curve.count,
    )
