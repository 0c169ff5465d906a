"""From an ASGI request to a handler and back to a trailer frame."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, MutableMapping
from typing import Any

from grpclib import GRPCError
from grpclib.const import Handler, Status
from weightslab_common.errors import WeightsLabError

from weightslab_gateway.protocol.call import CallerGone, CallerStuck, Limits
from weightslab_gateway.protocol.deadline import deadline_of
from weightslab_gateway.protocol_grpcweb.content_type import ContentType, parse_content_type
from weightslab_gateway.protocol_grpcweb.headers import decode_headers, encode_headers
from weightslab_gateway.protocol_grpcweb.stream import Receive, Send, WebCall

log = logging.getLogger(__name__)

# How the server lets us cut a connection at once; see `http_protocol.py`.
ABORT_EXTENSION = "weightslab.abort"


async def _unimplemented(call: object) -> None:
    raise GRPCError(Status.UNIMPLEMENTED, "there is no such method")


async def _no_client_streams(call: object) -> None:
    raise GRPCError(Status.UNIMPLEMENTED, "gRPC-Web has no streams from the client; call this method over gRPC")


class GrpcWeb:
    """An ASGI application that serves the methods in `mapping` to gRPC-Web clients.

    What is no gRPC-Web request is refused before any of its body is read: 405, 415.
    """

    def __init__(self, mapping: Mapping[str, Handler], *, limits: Limits) -> None:
        self._mapping = mapping
        self._limits = limits

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            await _refuse(send, 405, {"allow": "POST, OPTIONS"})
            return
        headers = decode_headers(scope["headers"])
        content_type = parse_content_type(headers.get("content-type", ""))
        if content_type is None:
            await _refuse(send, 415, {"accept-post": "application/grpc-web+proto, application/grpc-web-text+proto"})
            return
        call = self._call(scope, headers, content_type, receive, send)
        answer = asyncio.create_task(_answer(self._handler(scope["path"]), call, headers.get("grpc-timeout")))
        gone = asyncio.create_task(call.wait_until_gone())
        try:
            await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            answer.cancel()
            gone.cancel()
            results = await asyncio.gather(answer, gone, return_exceptions=True)
        _settle(results[0], scope)

    def _call(
        self,
        scope: MutableMapping[str, Any],
        headers: dict[str, str],
        content_type: ContentType,
        receive: Receive,
        send: Send,
    ) -> WebCall:
        client = scope.get("client")
        return WebCall(
            receive,
            send,
            path=scope["path"],
            headers=headers,
            handler=self._handler(scope["path"]),
            content_type=content_type,
            deadline=None,
            limits=self._limits,
            peer=f"{client[0]}:{client[1]}" if client else "unknown",
        )

    def _handler(self, path: str) -> Handler:
        handler = self._mapping.get(path)
        if handler is None:
            return Handler(_unimplemented, None, None, None)
        if handler.cardinality.client_streaming:
            return handler._replace(func=_no_client_streams)
        return handler


async def _answer(handler: Handler, call: WebCall, timeout: str | None) -> None:
    try:
        call.deadline = deadline_of(timeout)
        await handler.func(call)
    except GRPCError as error:
        await _finish_unread(call, error)
    except WeightsLabError as fault:
        await _finish_unread(call, GRPCError(fault.status, fault.message))
    else:
        await call.finish(None)


async def _finish_unread(call: WebCall, error: GRPCError) -> None:
    """End the call, perhaps before its body was read: a server that closes first would lose the answer."""
    try:
        async with asyncio.timeout(2.0):
            await call.discard_body()
    except (TimeoutError, WeightsLabError):
        log.debug("a refused request has no end: answered at once")
    await call.finish(error)


def _settle(result: BaseException | None, scope: MutableMapping[str, Any]) -> None:
    """Handle how the answering task ended."""
    if isinstance(result, CallerStuck):
        log.debug("a caller does not read: connection cut", extra={"path": scope["path"]})
        if extension := scope.get("extensions", {}).get(ABORT_EXTENSION):
            extension["call"]()
    elif isinstance(result, Exception) and not isinstance(result, CallerGone):
        raise result


async def _refuse(send: Send, status: int, headers: dict[str, str]) -> None:
    """Answer with an HTTP status and no body, and close: the request's body is not read."""
    fields = encode_headers({"content-length": "0", "connection": "close", **headers})
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
