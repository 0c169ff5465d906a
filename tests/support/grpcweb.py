"""A gRPC-Web client for tests, binary and text, written from the protocol's description.

https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md
"""

from __future__ import annotations

import base64
import struct
from collections.abc import AsyncIterator
from typing import TypeVar
from urllib.parse import unquote

import betterproto
import httpx
from grpclib import GRPCError
from grpclib.const import Status

ReplyT = TypeVar("ReplyT", bound=betterproto.Message)

BINARY = "application/grpc-web+proto"
TEXT = "application/grpc-web-text+proto"
_TRAILER_FLAG = 0x80
# What a proxy says while nobody behind it answers.
# https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md
_UNAVAILABLE = (502, 503, 504)


def frame(payload: bytes, *, flags: int = 0) -> bytes:
    """One length-prefixed frame."""
    return struct.pack(">BI", flags, len(payload)) + payload


class GrpcWebClient:
    """Calls methods at `url` in the `content_type` given: BINARY or TEXT."""

    def __init__(self, url: str, *, token: str, content_type: str = BINARY, host: str | None = None) -> None:
        """`host`: the name to call it by, when that is not the one in `url`."""
        self._http = httpx.AsyncClient(base_url=url, timeout=20, headers={"host": host} if host else None)
        self._content_type = content_type
        self._headers = {
            "authorization": f"Bearer {token}",
            "content-type": content_type,
            "accept": content_type,
            "x-grpc-web": "1",
        }

    async def close(self) -> None:
        await self._http.aclose()

    async def unary(self, path: str, request: betterproto.Message, reply_type: type[ReplyT]) -> ReplyT:
        """Return the only reply; raise GRPCError when the trailers say so."""
        replies = [reply async for reply in self.stream(path, request, reply_type)]
        assert len(replies) == 1, f"{path} sent {len(replies)} messages"
        return replies[0]

    async def stream(self, path: str, request: betterproto.Message, reply_type: type[ReplyT]) -> AsyncIterator[ReplyT]:
        """Yield replies as they come; raise GRPCError when the trailers say so."""
        body = frame(bytes(request))
        if self._content_type == TEXT:
            body = base64.b64encode(body)
        async with self._http.stream("POST", path, content=body, headers=self._headers) as response:
            if response.status_code in _UNAVAILABLE:
                raise GRPCError(Status.UNAVAILABLE, f"{path}: HTTP {response.status_code}")
            assert response.status_code == 200, f"{path}: HTTP {response.status_code}"
            trailers = {name: value for name, value in response.headers.items() if name.startswith("grpc-")}
            async for flags, payload in self._frames(response):
                if flags & _TRAILER_FLAG:
                    lines = payload.decode().splitlines()
                    trailers |= {name.strip(): value.strip() for name, value in (line.split(":", 1) for line in lines)}
                else:
                    yield reply_type().parse(payload)
        status = int(trailers["grpc-status"])
        if status:
            raise GRPCError(Status(status), unquote(trailers.get("grpc-message", "")))

    async def _frames(self, response: httpx.Response) -> AsyncIterator[tuple[int, bytes]]:
        buffer, encoded = b"", b""
        async for chunk in response.aiter_bytes():
            if self._content_type == TEXT:
                # Each frame is padded on its own, so that "=" may stand in the middle: decode by groups of four.
                encoded += chunk
                whole = len(encoded) // 4 * 4
                buffer += b"".join(base64.b64decode(encoded[at : at + 4]) for at in range(0, whole, 4))
                encoded = encoded[whole:]
            else:
                buffer += chunk
            while len(buffer) >= 5:
                flags, length = struct.unpack(">BI", buffer[:5])
                if len(buffer) < 5 + length:
                    break
                yield flags, buffer[5 : 5 + length]
                buffer = buffer[5 + length :]
        assert not buffer, "the reply ended within a frame"
