"""A call over an ASGI request."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

import betterproto
from grpclib import GRPCError
from grpclib.const import Handler
from grpclib.metadata import Deadline
from weightslab_common.errors import DeadlineExceeded, InvalidArgument, ResourceExhausted, WeightsLabError

from weightslab_gateway.encoded import payload_of
from weightslab_gateway.protocol.call import Call, CallerGone, CallerStuck, Limits, parse_message
from weightslab_gateway.protocol.compression import accepts_gzip, decompress, reply_frame
from weightslab_gateway.protocol.frame import Frame, FrameReader
from weightslab_gateway.protocol.metadata import request_metadata
from weightslab_gateway.protocol.status import status_fields
from weightslab_gateway.protocol_grpcweb.content_type import ContentType
from weightslab_gateway.protocol_grpcweb.headers import response_headers
from weightslab_gateway.protocol_grpcweb.text import TextReader, encode_text
from weightslab_gateway.protocol_grpcweb.trailer import encode_trailer

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

# A refused body is read to its end, without keeping it, so that the caller gets to read why: up to this much.
MAX_DISCARDED_BYTES = 64 * 1024**2


class WebCall(Call):
    """Reads the request's body and writes frames as the response's."""

    transport = "grpc-web"
    from_web = True

    def __init__(
        self,
        receive: Receive,
        send: Send,
        *,
        path: str,
        headers: Mapping[str, str],
        handler: Handler,
        content_type: ContentType,
        deadline: Deadline | None,
        limits: Limits,
        peer: str,
    ) -> None:
        super().__init__(path=path, metadata=request_metadata(headers.items()), deadline=deadline, peer=peer)
        self._receive = receive
        self._send = send
        self._handler = handler
        self._content_type = content_type
        self._encoding = headers.get("grpc-encoding", "identity")
        self._gzip_taken = accepts_gzip(headers.get("grpc-accept-encoding", ""))
        self._limits = limits
        self._frames = FrameReader(max_bytes=limits.max_message_bytes)
        self._text = TextReader() if content_type.text else None
        self._received: deque[Frame] = deque()
        self._received_count = 0
        self._started = False
        self.body_ended = asyncio.Event()

    async def recv_message(self) -> betterproto.Message | None:
        try:
            async with asyncio.timeout(self._limits.receive_timeout_secs):
                await self._read_body()
        except TimeoutError:
            raise DeadlineExceeded(f"no whole request came within {self._limits.receive_timeout_secs:g} s") from None
        if not self._received:
            if not self._received_count:
                raise InvalidArgument("the call carries no request message")
            return None
        self._received_count += 1
        message = decompress(
            self._received.popleft(), encoding=self._encoding, max_bytes=self._limits.max_message_bytes
        )
        return parse_message(self._handler, message)

    async def _read_body(self) -> None:
        """Read to the end. gRPC-Web has one message per request, so no more than one is ever kept."""
        while not self.body_ended.is_set():
            chunk = await self._receive_chunk()
            try:
                self._received.extend(self._frames.feed(self._text.feed(chunk) if self._text else chunk))
                if len(self._received) + self._received_count > 1:
                    raise InvalidArgument("the request holds more than one message; gRPC-Web takes one")
                if self.body_ended.is_set():
                    if self._text:
                        self._text.finish()
                    self._frames.finish()
            except WeightsLabError:
                await self.discard_body()
                raise

    async def _receive_chunk(self) -> bytes:
        event = await self._receive()
        if event["type"] == "http.disconnect":
            raise CallerGone("the caller left before its request ended")
        if not event.get("more_body", False):
            self.body_ended.set()
        return bytes(event.get("body", b""))

    async def discard_body(self) -> None:
        """Read what is left of the body and forget it. Raises CallerGone, ResourceExhausted when there is no end."""
        discarded_bytes = 0
        while not self.body_ended.is_set():
            discarded_bytes += len(await self._receive_chunk())
            if discarded_bytes > MAX_DISCARDED_BYTES:
                raise ResourceExhausted("the request is far too large")

    async def wait_until_gone(self) -> None:
        """Return when the caller has left; only looks once the body was read."""
        await self.body_ended.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def send_message(self, message: betterproto.Message) -> None:
        frame = await reply_frame(payload_of(message), gzip_taken=self._gzip_taken)
        await self._write(frame, timeout_secs=self._limits.send_timeout_secs)

    async def finish(self, error: GRPCError | None) -> None:
        """Send the trailers and end the response. Raises CallerGone."""
        trailer = encode_trailer(status_fields(error))
        await self._write(trailer, timeout_secs=self._limits.finish_timeout_secs, last=True)

    async def _write(self, data: bytes, *, timeout_secs: float, last: bool = False) -> None:
        try:
            async with asyncio.timeout(timeout_secs):
                if not self._started:
                    self._started = True
                    headers = response_headers(self._content_type, self.initial_metadata, compressed=self._gzip_taken)
                    await self._send({"type": "http.response.start", "status": 200, "headers": headers})
                body = encode_text(data) if self._text else data
                # ASGI's send returns when the server's buffer has room: that is the backpressure.
                await self._send({"type": "http.response.body", "body": body, "more_body": not last})
        except TimeoutError:
            raise CallerStuck(f"no message was taken within {timeout_secs:g} s") from None
