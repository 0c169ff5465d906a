"""Who may call what: the role each method needs."""

from __future__ import annotations

from weightslab_common.errors import PermissionDenied, Unauthenticated
from weightslab_common.tokens import Role

from weightslab_gateway.doors import Doors

_EXPERIMENT = "/weightslab.v1.ExperimentService/"
_SAMPLE = "/weightslab.v1.SampleService/"

EDITOR_METHODS = frozenset(
    {
        _EXPERIMENT + "Pause",
        _EXPERIMENT + "Resume",
        _EXPERIMENT + "SetMode",
        _EXPERIMENT + "SetHyperparameter",
        _EXPERIMENT + "SaveCheckpoint",
        _EXPERIMENT + "LoadCheckpoint",
        _EXPERIMENT + "OperateModel",
        _SAMPLE + "EditSamples",
        _SAMPLE + "UndoEdit",
    }
)
# What load balancers ask; tells nothing but whether the gateway serves.
OPEN_METHODS = frozenset({"/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"})

BEARER = "bearer "


def bearer(authorization: str) -> str:
    """The credential in an `authorization` header. Raises Unauthenticated when there is none."""
    if authorization[: len(BEARER)].lower() != BEARER:
        raise Unauthenticated(
            "no token was sent: add the header `authorization: Bearer <token>`; `weightslab token` prints the token"
        )
    return authorization[len(BEARER) :].strip()


def authorize(path: str, authorization: str, doors: Doors, *, host: str) -> Role:
    """The role of the caller of `path` from the address `host`.

    Raises Unauthenticated, PermissionDenied when the role is too low, ResourceExhausted for who calls or guesses too
    often.
    """
    if path in OPEN_METHODS:
        return Role.VIEWER
    role = doors.admit(bearer(authorization), host=host)
    if path in EDITOR_METHODS and role is not Role.EDITOR:
        raise PermissionDenied(
            f"{path.rsplit('/', 1)[1]} needs the role editor and this token gives the role {role.value}"
        )
    return role
