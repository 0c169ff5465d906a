"""Who may call what: the role each method needs."""

from __future__ import annotations

from weightslab_common.errors import PermissionDenied, Unauthenticated
from weightslab_common.tokens import Role, Tokens

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


def authorize(path: str, authorization: str, tokens: Tokens) -> Role:
    """The role of the caller of `path`. Raises Unauthenticated, or PermissionDenied when the role is too low."""
    if path in OPEN_METHODS:
        return Role.VIEWER
    role = tokens.check(bearer(authorization))
    if path in EDITOR_METHODS and role is not Role.EDITOR:
        raise PermissionDenied(
            f"{path.rsplit('/', 1)[1]} needs the role editor and this token gives the role {role.value}"
        )
    return role
