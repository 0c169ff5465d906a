"""Request headers that are for the handler."""

from __future__ import annotations

from collections.abc import Iterable

_TRANSPORT_FIELDS = frozenset({"te", "content-type", "user-agent", "content-length", "connection"})


def request_metadata(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """What the caller sent besides the fields of the transport; of a repeated field the last counts."""
    return {
        name: value for name, value in headers if not name.startswith((":", "grpc-")) and name not in _TRANSPORT_FIELDS
    }
