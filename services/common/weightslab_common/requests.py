"""The request that a task works for: its id, in every line of the log and in every message that it causes.

A request gets its id where it comes in from outside, or brings it along; over the bus it travels in a header.
"""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Iterator
from contextvars import ContextVar

REQUEST_ID_HEADER = "Wl-Request-Id"
_HARMLESS = re.compile(r"[A-Za-z0-9._-]{1,64}")
_current: ContextVar[str] = ContextVar("weightslab_request_id", default="")


def current_request_id() -> str:
    """The id of the request that this task works for; empty when it works for none."""
    return _current.get()


def request_id_of(given: str) -> str:
    """The id that a caller gave when it is harmless in a log, else a new one."""
    return given if _HARMLESS.fullmatch(given) else secrets.token_hex(8)


@contextlib.contextmanager
def working_for(request_id: str) -> Iterator[None]:
    """Make `request_id` the current one for as long as the context lasts."""
    token = _current.set(request_id)
    try:
        yield
    finally:
        _current.reset(token)
