"""The errors that cross a service boundary.

WeightsLabError
├── InvalidArgument      what was given cannot be used
├── NotFound             what was named does not exist
├── FailedPrecondition   not possible in the present state
├── Aborted              a condition the caller set did not hold
├── Unauthenticated      no or a wrong token
├── PermissionDenied     the role does not allow it
├── ResourceExhausted    a limit was reached
├── Unavailable          a part of the system does not answer
├── DeadlineExceeded     no answer in time
├── Unimplemented        there is no such method
└── Internal             a fault of ours
"""

from __future__ import annotations

from typing import ClassVar

from grpclib.const import Status


class WeightsLabError(Exception):
    """The root. The message says what is wrong, with what, and what to do."""

    status: ClassVar[Status] = Status.INTERNAL

    @property
    def message(self) -> str:
        return str(self)


class InvalidArgument(WeightsLabError):
    status = Status.INVALID_ARGUMENT


class NotFound(WeightsLabError):
    status = Status.NOT_FOUND


class FailedPrecondition(WeightsLabError):
    status = Status.FAILED_PRECONDITION


class Aborted(WeightsLabError):
    status = Status.ABORTED


class Unauthenticated(WeightsLabError):
    status = Status.UNAUTHENTICATED


class PermissionDenied(WeightsLabError):
    status = Status.PERMISSION_DENIED


class ResourceExhausted(WeightsLabError):
    status = Status.RESOURCE_EXHAUSTED


class Unavailable(WeightsLabError):
    status = Status.UNAVAILABLE


class DeadlineExceeded(WeightsLabError):
    status = Status.DEADLINE_EXCEEDED


class Unimplemented(WeightsLabError):
    status = Status.UNIMPLEMENTED


class Internal(WeightsLabError):
    status = Status.INTERNAL


_BY_STATUS: dict[Status, type[WeightsLabError]] = {kind.status: kind for kind in WeightsLabError.__subclasses__()}


def error_for(status: int, message: str) -> WeightsLabError:
    """The error that a peer meant by a gRPC status code and a message."""
    try:
        kind = _BY_STATUS.get(Status(status), Internal)
    except ValueError:
        kind = Internal
    return kind(message)
