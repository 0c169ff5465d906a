"""Which pages may call, and what browsers must be told for it: https://fetch.spec.whatwg.org/#http-cors-protocol."""

from __future__ import annotations

from weightslab_gateway.protocol_grpcweb.headers import RawHeaders, encode_headers

# Read by browsers' gRPC-Web clients: error fields when a response has trailers only, and what we add to each call.
EXPOSED = "grpc-status, grpc-message, grpc-status-details-bin, grpc-encoding, x-request-id, x-version, x-boxes, etag"
# Sent by them. `x-grpc-web` and `x-user-agent` by every client, `grpc-timeout` with a deadline,
# `connect-protocol-version` by Connect clients that are set to another protocol.
REQUEST_HEADERS = (
    "authorization, content-type, grpc-timeout, x-grpc-web, x-user-agent, grpc-accept-encoding, grpc-encoding, "
    "x-request-id, traceparent, connect-protocol-version, connect-timeout-ms"
)
METHODS = "GET, HEAD, POST, DELETE"
# Chromium keeps an answer for two hours at most.
PREFLIGHT_MAX_AGE_SECS = 7200


def cors_headers(origin: str) -> RawHeaders:
    """What every response to a page of an allowed `origin` carries."""
    return encode_headers(
        {
            "access-control-allow-origin": origin,
            "access-control-allow-credentials": "true",
            "access-control-expose-headers": EXPOSED,
            "vary": "origin",
        }
    )


def preflight_headers(origin: str) -> RawHeaders:
    """What the answer to OPTIONS of an allowed `origin` carries."""
    return cors_headers(origin) + encode_headers(
        {
            "access-control-allow-methods": METHODS,
            "access-control-allow-headers": REQUEST_HEADERS,
            "access-control-max-age": str(PREFLIGHT_MAX_AGE_SECS),
        }
    )
