"""A transport that gathers what is written in one turn of the event loop.

The parts of an answer (head, body, trailers) are written one after the other; sent one by one, each would cost a system
call and a packet, and wake the other end once more.
"""

from __future__ import annotations

import asyncio
from typing import Any

# So much is sent at once: whoever goes on writing is to learn that the other end does not read.
MAX_WAITING_BYTES = 64 * 1024


class Gathered(asyncio.Transport):
    """Stands before `transport`, which goes on to tell its protocol what happens."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__()
        self._transport = transport
        self._waiting = bytearray()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._send)
        self._waiting += data
        if len(self._waiting) > MAX_WAITING_BYTES:
            self._send()

    def _send(self) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, bytearray()
            self._transport.write(waiting)

    def close(self) -> None:
        self._send()
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()
