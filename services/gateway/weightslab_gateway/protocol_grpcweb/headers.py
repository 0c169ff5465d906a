"""Header fields of gRPC-Web requests and responses, as ASGI has them: pairs of bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from weightslab_gateway.protocol.compression import ACCEPTED_ENCODINGS, GZIP
from weightslab_gateway.protocol_grpcweb.content_type import ContentType

RawHeaders = list[tuple[bytes, bytes]]


def decode_headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Request fields by lower-case name; of a repeated field the last counts."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in raw}


def encode_headers(fields: Mapping[str, str]) -> RawHeaders:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields.items()]


def response_headers(content_type: ContentType, metadata: Mapping[str, str], *, compressed: bool) -> RawHeaders:
    """The fields before the first frame; `compressed`: that messages may be."""
    fields = {
        "content-type": content_type.header,
        "cache-control": "no-store",
        "grpc-accept-encoding": ACCEPTED_ENCODINGS,
        **metadata,
    }
    if compressed:
        fields["grpc-encoding"] = GZIP
    return encode_headers(fields)
