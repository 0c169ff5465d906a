"""How to tell that a service is ready: by what it answers."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import Protocol

from weightslab_common import subjects
from weightslab_common.bus import Bus
from weightslab_common.bus_tls import told_context
from weightslab_common.errors import Unavailable, WeightsLabError
from weightslab_proto.weightslab.bus.v1 import ListLedgerExperimentsRequest, ListLedgerExperimentsResponse

ANSWER_SECS = 5.0


class Probe(Protocol):
    """Says whether a service is ready."""

    async def ready(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class TcpProbe:
    """Ready when a TCP connection is accepted."""

    host: str
    port: int

    async def ready(self) -> bool:
        try:
            async with asyncio.timeout(ANSWER_SECS):
                _, writer = await asyncio.open_connection(self.host, self.port)
        except (OSError, TimeoutError):
            return False
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return True


@dataclass(frozen=True, slots=True)
class HttpProbe:
    """Ready when `path` answers with status 200."""

    host: str
    port: int
    path: str

    async def ready(self) -> bool:
        answer = await http_get(self.host, self.port, self.path)
        return answer is not None and answer.status == 200


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """Status code and body of an answer."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class LedgerProbe:
    """Ready when a ledger answers on the bus."""

    nats_url: str
    nats_token: str | None = field(repr=False)

    async def ready(self) -> bool:
        try:
            bus = await Bus.connect(
                self.nats_url, name="studio", token=self.nats_token, tls=told_context(), wait_for_server=False
            )
        except Unavailable:
            return False
        try:
            await bus.request(
                subjects.ledger(subjects.ALL_EXPERIMENTS, "list"),
                ListLedgerExperimentsRequest(),
                ListLedgerExperimentsResponse,
                timeout_secs=ANSWER_SECS,
                part="ledger",
            )
        except WeightsLabError:
            return False
        finally:
            await bus.close()
        return True


async def http_get(host: str, port: int, path: str) -> HttpAnswer | None:
    """Ask by HTTP; None when nothing answers sensibly within ANSWER_SECS."""
    # 1.0, so that the answer comes in one piece and ends with the connection.
    request = f"GET {path} HTTP/1.0\r\nHost: localhost:{port}\r\n\r\n"
    try:
        async with asyncio.timeout(ANSWER_SECS):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(request.encode())
                return _parse(await reader.read(-1))
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError):
        return None


def _parse(answer: bytes) -> HttpAnswer:
    head, _, body = answer.partition(b"\r\n\r\n")
    protocol, code = head.split(b" ", 2)[:2]
    if not protocol.startswith(b"HTTP/1."):
        raise ValueError("no HTTP answer")
    return HttpAnswer(int(code), body)
