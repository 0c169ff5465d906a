"""From an HTTP/2 request to a handler and back to trailers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from grpclib import GRPCError
from grpclib.const import Handler, Status
from grpclib.protocol import AbstractHandler, Stream
from h2.exceptions import H2Error
from weightslab_common.errors import InvalidArgument

from weightslab_gateway.protocol.call import CallerGone, CallerStuck, Limits
from weightslab_gateway.protocol.deadline import deadline_of
from weightslab_gateway.protocol.status import status_fields
from weightslab_gateway.protocol_grpc.content_type import is_accepted
from weightslab_gateway.protocol_grpc.headers import response_headers
from weightslab_gateway.protocol_grpc.stream import GrpcCall

log = logging.getLogger(__name__)


class ConnectionHandler(AbstractHandler):
    """Runs the calls of one connection, a task each."""

    def __init__(
        self, mapping: Mapping[str, Handler], *, limits: Limits, abort: Callable[[], None], peer: Callable[[], str]
    ) -> None:
        self._mapping = mapping
        self._limits = limits
        self._abort = abort
        self._peer = peer
        self.tasks: dict[Stream, asyncio.Task[None]] = {}

    def accept(self, stream: Stream, headers: list[tuple[str, str]], release_stream: Callable[[], None]) -> None:
        task = asyncio.create_task(self._answer(stream, dict(headers), release_stream))
        self.tasks[stream] = task
        task.add_done_callback(lambda _: self.tasks.pop(stream, None))

    def cancel(self, stream: Stream) -> None:
        if task := self.tasks.get(stream):
            task.cancel()

    def close(self) -> None:
        for task in self.tasks.values():
            task.cancel()

    async def _answer(self, stream: Stream, headers: dict[str, str], release_stream: Callable[[], None]) -> None:
        try:
            await self._respond(stream, headers)
        except CallerStuck:
            log.debug("a caller does not read: connection closed", extra={"peer": self._peer()})
            self._abort()
        except (CallerGone, H2Error) as error:
            log.debug("the caller has left: %s", error)
        finally:
            release_stream()

    async def _respond(self, stream: Stream, headers: dict[str, str]) -> None:
        refusal = _http_refusal(headers)
        if refusal is not None:
            await stream.send_headers([(":status", str(refusal))], end_stream=True)
            stream.reset_nowait()
            return
        handler = self._mapping.get(headers[":path"])
        if handler is None:
            error = GRPCError(Status.UNIMPLEMENTED, f"there is no method {headers[':path'][:200]}")
            await stream.send_headers(response_headers({}) + status_fields(error), end_stream=True)
            stream.reset_nowait()
            return
        try:
            deadline = deadline_of(headers.get("grpc-timeout"))
        except InvalidArgument as fault:
            error = GRPCError(fault.status, fault.message)
            await stream.send_headers(response_headers({}) + status_fields(error), end_stream=True)
            stream.reset_nowait()
            return
        call = GrpcCall(stream, headers, handler=handler, deadline=deadline, limits=self._limits, peer=self._peer())
        try:
            await handler.func(call)
        except GRPCError as error:
            await call.finish(error)
        else:
            await call.finish(None)


def _http_refusal(headers: Mapping[str, str]) -> int | None:
    """The HTTP status of what is no gRPC request at all; None when it is one."""
    if headers.get(":method") != "POST":
        return 405
    if not is_accepted(headers.get("content-type", "")):
        return 415
    return None
