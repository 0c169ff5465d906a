"""A call as a handler sees it, whichever transport it came by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import betterproto
from grpclib.const import Handler
from grpclib.metadata import Deadline
from weightslab_common.messages import parsed

from weightslab_gateway.protocol.wire import check_message


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one call."""

    max_message_bytes: int
    """Of a request message, before and after decompression."""
    send_timeout_secs: float = 30.0
    """How long a caller may take to accept one message."""
    finish_timeout_secs: float = 2.0
    """How long a caller may take to accept the trailers, before its connection is cut."""
    receive_timeout_secs: float = 30.0
    """How long a caller may take to send its next message or part of it."""


class CallerGone(Exception):
    """The caller has left, or does not read: there is nobody to answer."""


class CallerStuck(CallerGone):
    """The caller has not taken a message within the time it has."""


class Call(ABC):
    """One call. `grpclib` handlers call `recv_message` and `send_message` and need nothing else of it."""

    transport: str

    def __init__(self, *, path: str, metadata: Mapping[str, str], deadline: Deadline | None, peer: str) -> None:
        self.path = path
        self.metadata = metadata
        self.deadline = deadline
        self.peer = peer
        # Sent with the first message or the trailers.
        self.initial_metadata: dict[str, str] = {}

    @property
    def from_web(self) -> bool:
        """Whether the caller speaks gRPC-Web, to us or to a proxy, which then keeps this field of its clients."""
        return "x-grpc-web" in self.metadata

    @abstractmethod
    async def recv_message(self) -> betterproto.Message | None:
        """The next message, or None at the end. Raises WeightsLabError for what is no message, and CallerGone."""

    @abstractmethod
    async def send_message(self, message: betterproto.Message) -> None:
        """Send a message, waiting until the caller can take it. Raises CallerGone."""

    def __aiter__(self) -> Call:
        return self

    async def __anext__(self) -> betterproto.Message:
        message = await self.recv_message()
        if message is None:
            raise StopAsyncIteration
        return message


def parse_message(handler: Handler, payload: bytes) -> betterproto.Message:
    """The request in `payload`. Raises InvalidArgument."""
    check_message(payload)
    message: betterproto.Message = parsed(handler.request_type, payload)
    return message
