"""What is written in one turn of the loop goes out together."""

from __future__ import annotations

import asyncio
from asyncio.selector_events import _SelectorSocketTransport  # type: ignore[attr-defined]

import pytest
from weightslab_gateway.gathered import MAX_WAITING_BYTES, Gathered

from tests.unit.gateway.conftest import Gateway


class Recorded(asyncio.Transport):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[bytes | str] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.told.append(bytes(data))

    def close(self) -> None:
        self.told.append("close")

    def abort(self) -> None:
        self.told.append("abort")


@pytest.fixture
def below() -> Recorded:
    return Recorded()


async def test_the_parts_of_an_answer_are_sent_at_once_when_the_turn_is_over(below: Recorded) -> None:
    gathered = Gathered(below)
    gathered.write(b"head")
    gathered.write(memoryview(b"body"))
    assert below.told == []
    await asyncio.sleep(0)
    gathered.write(b"next")
    await asyncio.sleep(0)
    assert below.told == [b"headbody", b"next"]


async def test_who_writes_much_in_one_turn_is_not_kept_from_the_limits_of_the_transport(below: Recorded) -> None:
    gathered = Gathered(below)
    for _ in range(3):
        gathered.write(b"x" * MAX_WAITING_BYTES)
    assert below.told == [b"x" * (2 * MAX_WAITING_BYTES)]
    await asyncio.sleep(0)
    assert sum(map(len, below.told)) == 3 * MAX_WAITING_BYTES


async def test_what_was_written_is_sent_before_an_orderly_end_and_not_before_an_abrupt_one(below: Recorded) -> None:
    gathered = Gathered(below)
    gathered.write(b"last")
    gathered.close()
    gathered.write(b"lost")
    gathered.abort()
    assert below.told == [b"last", "close", "abort"]


async def test_an_answer_over_http_is_one_write(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []
    sends = _SelectorSocketTransport.write

    def write(self: _SelectorSocketTransport, data: bytes) -> None:
        written.append(bytes(data))
        sends(self, data)

    monkeypatch.setattr(_SelectorSocketTransport, "write", write)
    async with gateway.http() as http:
        reply = await http.get("/nothing")
    _, _, body = next(data for data in written if data.startswith(b"HTTP/1.1 404")).partition(b"\r\n\r\n")
    assert body == reply.content != b""
