"""Content types of gRPC-Web."""

from __future__ import annotations

from dataclasses import dataclass

_BINARY = frozenset({"application/grpc-web", "application/grpc-web+proto"})
_TEXT = frozenset({"application/grpc-web-text", "application/grpc-web-text+proto"})


@dataclass(frozen=True, slots=True)
class ContentType:
    """How the bodies of a call are written."""

    text: bool

    @property
    def header(self) -> str:
        """The content type of the response."""
        return "application/grpc-web-text+proto" if self.text else "application/grpc-web+proto"


def parse_content_type(value: str) -> ContentType | None:
    """What a `content-type` header means; None when it is not gRPC-Web with protobuf messages."""
    name = value.split(";")[0].strip().lower()
    if name in _BINARY:
        return ContentType(text=False)
    if name in _TEXT:
        return ContentType(text=True)
    return None
