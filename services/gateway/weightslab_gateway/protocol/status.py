"""How a call ended, as fields: `grpc-status`, `grpc-message` and `grpc-status-details-bin`."""

from __future__ import annotations

import base64

from betterproto.lib.google.protobuf import Any
from grpclib import GRPCError
from grpclib.const import Status
from grpclib.metadata import encode_grpc_message
from weightslab_proto.google.rpc import ErrorInfo
from weightslab_proto.google.rpc import Status as RpcStatus

DOMAIN = "weightslab"
# A longer text is cut: header fields have limits everywhere on the way.
MAX_MESSAGE_CHARACTERS = 2000

_ERROR_INFO_URL = "type.googleapis.com/google.rpc.ErrorInfo"


def failure(status: Status, message: str, *, request_id: str) -> GRPCError:
    """The error that ends a call, with details for programs."""
    text = message if len(message) <= MAX_MESSAGE_CHARACTERS else message[: MAX_MESSAGE_CHARACTERS - 1] + "…"
    info = ErrorInfo(reason=status.name, domain=DOMAIN, metadata={"request_id": request_id})
    details = RpcStatus(code=status.value, message=text, details=[Any(type_url=_ERROR_INFO_URL, value=bytes(info))])
    return GRPCError(status, text, bytes(details))


def status_fields(error: GRPCError | None) -> list[tuple[str, str]]:
    """The trailing fields of a call that ended well (None) or with `error`."""
    if error is None:
        return [("grpc-status", "0")]
    fields = [("grpc-status", str(error.status.value))]
    if error.message:
        fields.append(("grpc-message", encode_grpc_message(error.message)))
    if isinstance(error.details, bytes):
        fields.append(("grpc-status-details-bin", base64.b64encode(error.details).rstrip(b"=").decode()))
    return fields
