"""Content types of gRPC."""

from __future__ import annotations

CONTENT_TYPE = "application/grpc+proto"
_ACCEPTED = frozenset({"application/grpc", CONTENT_TYPE})


def is_accepted(content_type: str) -> bool:
    """Whether a request of this content type is gRPC with protobuf messages."""
    return content_type.split(";")[0].strip().lower() in _ACCEPTED
