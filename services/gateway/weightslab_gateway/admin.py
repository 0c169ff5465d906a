"""The HTTP application at the admin port: `/healthz`, `/readyz`, `/metrics`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.responses import Response

from weightslab_gateway.metrics import CONTENT_TYPE, Metrics
from weightslab_gateway.protocol_grpcweb.stream import Receive, Send
from weightslab_gateway.replies import SECURITY_HEADERS, error_reply, json_reply
from weightslab_gateway.web import with_headers


class Admin:
    """Answers operators. Tells nothing of experiments."""

    def __init__(self, *, metrics: Metrics, missing: Callable[[], Awaitable[list[str]]]) -> None:
        self._metrics = metrics
        self._missing = missing

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        response = await self._response(scope["method"], scope["path"])
        await response(scope, receive, with_headers(send, SECURITY_HEADERS))

    async def _response(self, method: str, path: str) -> Response:
        if method not in ("GET", "HEAD"):
            return error_reply(405, "method_not_allowed", "only GET is answered here")
        if path in ("/", "/healthz"):
            return json_reply(200, {"status": "alive"})
        if path == "/readyz":
            missing = await self._missing()
            return json_reply(503 if missing else 200, {"ready": not missing, "missing": missing})
        if path == "/metrics":
            return Response(self._metrics.exposition(), media_type=CONTENT_TYPE)
        return error_reply(404, "not_found", "there are /healthz, /readyz and /metrics")
