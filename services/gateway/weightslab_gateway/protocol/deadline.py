"""The header `grpc-timeout`: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#requests."""

from __future__ import annotations

import re

from grpclib.metadata import Deadline
from weightslab_common.errors import InvalidArgument

_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])")
_UNIT_SECS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


def parse_timeout_secs(value: str) -> float:
    """Seconds that a `grpc-timeout` stands for. Raises InvalidArgument."""
    found = _TIMEOUT.fullmatch(value)
    if not found:
        raise InvalidArgument(f"grpc-timeout {value[:40]!r} is not 1 to 8 digits and one of H, M, S, m, u, n")
    return int(found[1]) * _UNIT_SECS[found[2]]


def deadline_of(value: str | None) -> Deadline | None:
    """The deadline that a `grpc-timeout` header sets from now on; None when there is no such header."""
    return None if value is None else Deadline.from_timeout(parse_timeout_secs(value))
