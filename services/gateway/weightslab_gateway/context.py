"""What a handler may know of the call it answers, besides its request."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

from grpclib.metadata import Deadline
from weightslab_common.tokens import Role


@dataclass(frozen=True, slots=True)
class CallContext:
    """Of one call."""

    role: Role
    deadline: Deadline | None
    # Over HTTP/1.1, here or at a proxy that translates: nobody can be asked there whether he is still reading.
    from_web: bool = False


_current: ContextVar[CallContext] = ContextVar("weightslab_gateway_call")


def current_call() -> CallContext:
    """The call that this task answers."""
    return _current.get()


def enter_call(context: CallContext) -> None:
    """Make `context` the current call of this task."""
    _current.set(context)


def time_left_secs(at_most: float) -> float:
    """Seconds that a request to a peer may take: `at_most`, or what the caller's deadline leaves."""
    context = _current.get(None)
    if context is None or context.deadline is None:
        return at_most
    return min(at_most, context.deadline.time_remaining())
