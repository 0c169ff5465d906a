"""A call over HTTP/2."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import betterproto
from grpclib import GRPCError
from grpclib.const import Handler
from grpclib.metadata import Deadline
from grpclib.protocol import Stream
from h2.exceptions import H2Error
from weightslab_common.errors import DeadlineExceeded, InvalidArgument

from weightslab_gateway.encoded import payload_of
from weightslab_gateway.protocol.call import Call, CallerGone, CallerStuck, Limits, parse_message
from weightslab_gateway.protocol.compression import accepts_gzip, decompress, reply_frame
from weightslab_gateway.protocol.frame import HEADER_BYTES, Frame, parse_header
from weightslab_gateway.protocol.metadata import request_metadata
from weightslab_gateway.protocol.status import status_fields
from weightslab_gateway.protocol_grpc.headers import response_headers


class GrpcCall(Call):
    """Reads and writes one HTTP/2 stream."""

    transport = "grpc"

    def __init__(
        self,
        stream: Stream,
        headers: Mapping[str, str],
        *,
        handler: Handler,
        deadline: Deadline | None,
        limits: Limits,
        peer: str,
    ) -> None:
        super().__init__(
            path=headers[":path"], metadata=request_metadata(headers.items()), deadline=deadline, peer=peer
        )
        self._stream = stream
        self._handler = handler
        self._encoding = headers.get("grpc-encoding", "identity")
        self._gzip_taken = accepts_gzip(headers.get("grpc-accept-encoding", ""))
        self._limits = limits
        self._started = False
        self._received_count = 0

    async def recv_message(self) -> betterproto.Message | None:
        try:
            async with asyncio.timeout(self._limits.receive_timeout_secs if self._expects_one else None):
                frame = await self._read_frame()
        except TimeoutError:
            raise DeadlineExceeded(
                f"no whole request message came within {self._limits.receive_timeout_secs:g} s"
            ) from None
        if frame is None:
            if self._expects_one and not self._received_count:
                raise InvalidArgument("the call carries no request message")
            return None
        self._received_count += 1
        message = decompress(frame, encoding=self._encoding, max_bytes=self._limits.max_message_bytes)
        return parse_message(self._handler, message)

    @property
    def _expects_one(self) -> bool:
        return not self._handler.cardinality.client_streaming

    async def _read_frame(self) -> Frame | None:
        try:
            header = await self._stream.recv_data(HEADER_BYTES)
            if not header:
                return None
            flags, length = parse_header(header, max_bytes=self._limits.max_message_bytes)
            return Frame(flags, await self._stream.recv_data(length))
        except AssertionError as error:
            # How grpclib's buffer says that the stream ended early.
            raise InvalidArgument("the request ends within a frame") from error

    async def send_message(self, message: betterproto.Message) -> None:
        frame = await reply_frame(payload_of(message), gzip_taken=self._gzip_taken)
        try:
            async with asyncio.timeout(self._limits.send_timeout_secs):
                if not self._started:
                    self._started = True
                    await self._stream.send_headers(self._headers())
                await self._stream.send_data(frame)
        except TimeoutError:
            raise CallerStuck(f"no message was taken within {self._limits.send_timeout_secs:g} s") from None
        except H2Error as error:
            raise CallerGone(str(error)) from error

    def _headers(self) -> list[tuple[str, str]]:
        return response_headers(self.initial_metadata, compressed=self._gzip_taken)

    async def finish(self, error: GRPCError | None) -> None:
        """Send the trailers, and tell the caller to send nothing more. Raises CallerGone."""
        fields = status_fields(error)
        if not self._started:
            fields = self._headers() + fields
        try:
            async with asyncio.timeout(self._limits.finish_timeout_secs):
                await self._stream.send_headers(fields, end_stream=True)
        except TimeoutError:
            raise CallerStuck("the trailers were not taken") from None
        except H2Error as fault:
            raise CallerGone(str(fault)) from fault
        if error is not None and self._stream.closable:
            self._stream.reset_nowait()
