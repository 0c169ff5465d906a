"""The HTTP application of an admin port: `/healthz`, `/readyz`, `/metrics`. For services with the `web` libraries."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson
from prometheus_client import CollectorRegistry, generate_latest
from starlette.responses import Response

from weightslab_common import __version__

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# What is served is data, never a document, and true for this moment only.
_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


def _json(status: int, content: dict[str, object]) -> Response:
    return Response(orjson.dumps(content), status, headers=_HEADERS, media_type="application/json")


def _refusal(status: int, error: str, message: str) -> Response:
    return _json(status, {"error": error, "message": message})


class Admin:
    """Answers operators; tells nothing of what is in experiments.

    `missing`: which of the parts that the service cannot work without do not answer; `is_stopping`: whether it takes
    nothing new any more.
    """

    def __init__(
        self,
        *,
        registry: CollectorRegistry,
        missing: Callable[[], Awaitable[list[str]]],
        is_stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._registry = registry
        self._missing = missing
        self._is_stopping = is_stopping

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        response = await self._response(scope["method"], scope["path"])
        await response(scope, receive, send)

    async def _response(self, method: str, path: str) -> Response:
        if method not in ("GET", "HEAD"):
            return _refusal(405, "method_not_allowed", "only GET is answered here")
        if path in ("/", "/healthz"):
            return _json(200, {"status": "alive", "version": __version__})
        if path == "/readyz":
            if self._is_stopping():
                return _json(503, {"ready": False, "missing": [], "stopping": True})
            missing = await self._missing()
            return _json(503 if missing else 200, {"ready": not missing, "missing": missing})
        if path == "/metrics":
            return Response(generate_latest(self._registry), headers=_HEADERS, media_type=METRICS_TYPE)
        return _refusal(404, "not_found", "there are /healthz, /readyz and /metrics")
