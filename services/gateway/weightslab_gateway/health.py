"""`grpc.health.v1.Health`: what load balancers ask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable

from weightslab_common.errors import NotFound
from weightslab_proto.grpc.health.v1 import (
    HealthBase,
    HealthCheckRequest,
    HealthCheckResponse,
    HealthCheckResponseServingStatus,
)

from weightslab_gateway.services import Served

# How soon a watcher is told of a change.
WATCH_SECS = 0.5


class Health(Served, HealthBase):
    """Serving means: the gateway can do its work, which it cannot without the bus."""

    def __init__(self, services: Iterable[str], *, is_ready: Callable[[], bool]) -> None:
        self._services = frozenset({"", *services})
        self._is_ready = is_ready

    def _status(self) -> HealthCheckResponseServingStatus:
        ready = self._is_ready()
        return HealthCheckResponseServingStatus.SERVING if ready else HealthCheckResponseServingStatus.NOT_SERVING

    async def check(self, request: HealthCheckRequest) -> HealthCheckResponse:
        if request.service not in self._services:
            raise NotFound(f"there is no service {request.service[:200]!r}")
        return HealthCheckResponse(status=self._status())

    async def watch(self, request: HealthCheckRequest) -> AsyncIterator[HealthCheckResponse]:
        known = request.service in self._services
        told = None
        while True:
            status = self._status() if known else HealthCheckResponseServingStatus.SERVICE_UNKNOWN
            if status != told:
                told = status
                yield HealthCheckResponse(status=status)
            await asyncio.sleep(WATCH_SECS)
