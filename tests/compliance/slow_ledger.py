"""The ledger that clients are tried against."""

from __future__ import annotations

import asyncio

from weightslab_common.bus import Bus
from weightslab_common.errors import InvalidArgument
from weightslab_proto.weightslab.v1 import (
    Curve,
    GetCurvesRequest,
    GetCurvesResponse,
    QuerySamplesRequest,
    QuerySamplesResponse,
)

from tests.unit.gateway.peers import LOSS, LedgerPeer, points

PAGE_POINTS = 1000
PAGES = 6


class SlowLedger(LedgerPeer):
    """Gives its curve in pages with a pause before each; fails after two pages if told to."""

    def __init__(self, bus: Bus, experiment: str, *, broken: bool) -> None:
        super().__init__(bus, experiment, point_count=PAGE_POINTS * PAGES)
        self._broken = broken

    async def _get_curves(self, request: GetCurvesRequest) -> GetCurvesResponse:
        first = request.first_ordinal
        await asyncio.sleep(0.12)
        if self._broken and first >= 2 * PAGE_POINTS:
            raise InvalidArgument("mitten drin: 日本")
        steps, values = points(first, min(first + PAGE_POINTS, self.point_count))
        return GetCurvesResponse(curves=[Curve(key=LOSS, point_count=self.point_count, steps=steps, values=values)])

    async def _query(self, request: QuerySamplesRequest) -> QuerySamplesResponse:
        if request.filter == "slow":
            await asyncio.sleep(3)
        return await super()._query(request)
