"""Small HTTP answers: JSON, and the headers that every answer carries."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.responses import Response
from weightslab_common.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    WeightsLabError,
)

from weightslab_gateway.protocol_grpcweb.headers import encode_headers
from weightslab_gateway.protocol_grpcweb.stream import Receive, Send

Scope = MutableMapping[str, Any]

# What is served is data, never a document: nothing may run, frame or sniff it. `same-site` lets the page on another
# port of this host show images.
SECURITY_HEADERS = encode_headers(
    {
        "x-content-type-options": "nosniff",
        "content-security-policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
        "cross-origin-resource-policy": "same-site",
        "referrer-policy": "no-referrer",
        "x-frame-options": "DENY",
    }
)

_HTTP_STATUS: dict[type[WeightsLabError], int] = {
    InvalidArgument: 400,
    Unauthenticated: 401,
    PermissionDenied: 403,
    NotFound: 404,
    FailedPrecondition: 409,
    ResourceExhausted: 429,
    Unavailable: 503,
    DeadlineExceeded: 504,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """An ASGI application that sends an answer as it is, for what is asked for often."""

    status_code: int
    fields: Mapping[str, str]
    body: bytes = b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = encode_headers(self.fields)
        # What has not changed (304) has no body, and its length is that of the image.
        if self.status_code != 304:
            headers.append((b"content-length", str(len(self.body)).encode()))
        await send({"type": "http.response.start", "status": self.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


def json_reply(status: int, content: dict[str, object]) -> Response:
    """An answer that is not kept by caches."""
    return Response(orjson.dumps(content), status, headers={"cache-control": "no-store"}, media_type="application/json")


def error_reply(status: int, error: str, message: str) -> Response:
    """`error` is for programs, `message` for people."""
    return json_reply(status, {"error": error, "message": message})


def reply_for(error: WeightsLabError) -> Response:
    """What an error of ours is over HTTP."""
    return error_reply(_HTTP_STATUS.get(type(error), 500), error.status.name.lower(), error.message)
