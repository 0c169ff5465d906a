"""The store reached by TLS and with a password. The server at hand speaks no TLS, so a relay before it does."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from weightslab_common.embedded import free_port, store_command
from weightslab_common.errors import Unavailable
from weightslab_ledger.store import Store

from tests.support.certificates import Files
from tests.support.processes import Process, accepts, wait_until

PASSWORD = "password-of-the-store"


@pytest.fixture
def guarded_port(tmp_path: Path) -> Iterator[int]:
    """A server that asks for a password."""
    port = free_port()
    process = Process(store_command(tmp_path / "store", port=port, password=PASSWORD), log=tmp_path / "store.log")
    process.start()
    try:
        wait_until(lambda: accepts(port), what="the store listens", timeout_secs=60)
        yield port
    finally:
        process.stop()


@pytest.fixture
async def tls_port(guarded_port: int, tmp_path: Path) -> AsyncIterator[int]:
    """The same server behind a relay that speaks TLS."""
    files = Files.make(tmp_path / "certificates")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.server_cert, files.server_key)

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(1 << 16):
                sink.write(data)
                await sink.drain()
        sink.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", guarded_port)
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))

    async with await asyncio.start_server(relay, "127.0.0.1", 0, ssl=context) as server:
        yield int(server.sockets[0].getsockname()[1])
        # Before Python 3.12.1 leaving the context does not end what runs.
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            if "relay" in str(task.get_coro()):
                task.cancel()


def _url(port: int, authority: Path, password: str = PASSWORD) -> str:
    return f"rediss://:{password}@127.0.0.1:{port}?ssl_ca_certs={authority}"


async def _answers(url: str) -> bool:
    store = Store(url)
    try:
        return await store.answers()
    finally:
        await store.close()


async def test_it_is_reached_by_tls_with_its_password(tls_port: int, tmp_path: Path) -> None:
    store = Store(_url(tls_port, tmp_path / "certificates" / "ca.pem"))
    with store.reaching() as client:
        await client.set("a", "b")
        assert await client.get("a") == b"b"
    await store.close()


async def test_a_server_of_another_authority_is_told_nothing(tls_port: int, tmp_path: Path) -> None:
    strangers = Files.make(tmp_path / "strangers")
    assert not await _answers(_url(tls_port, strangers.authority))


async def test_a_wrong_password_is_refused_and_not_repeated_in_the_error(tls_port: int, tmp_path: Path) -> None:
    store = Store(_url(tls_port, tmp_path / "certificates" / "ca.pem", password="wrong-password"))
    with pytest.raises(Unavailable) as caught, store.reaching() as client:
        await client.get("a")
    await store.close()
    assert "wrong-password" not in str(caught.value)


async def test_where_tls_is_spoken_plain_text_is_no_way_in(tls_port: int) -> None:
    assert not await _answers(f"redis://:{PASSWORD}@127.0.0.1:{tls_port}")
