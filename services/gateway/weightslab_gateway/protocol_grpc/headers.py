"""Header fields of a gRPC response."""

from __future__ import annotations

from collections.abc import Mapping

from weightslab_gateway.protocol.compression import ACCEPTED_ENCODINGS, GZIP
from weightslab_gateway.protocol_grpc.content_type import CONTENT_TYPE


def response_headers(metadata: Mapping[str, str], *, compressed: bool = False) -> list[tuple[str, str]]:
    """The fields before the first message; `compressed`: that messages may be."""
    return [
        (":status", "200"),
        ("content-type", CONTENT_TYPE),
        ("grpc-accept-encoding", ACCEPTED_ENCODINGS),
        *([("grpc-encoding", GZIP)] if compressed else []),
        *metadata.items(),
    ]
