"""Whatever connects to the console gets a line of JSON or is closed, and nobody else is hurt."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from weightslab.console.bus_link import BusLink, linked
from weightslab.console.conversation import Conversation
from weightslab.console.grammar import LINE_MAX_BYTES
from weightslab.console.server import Limits, serving
from weightslab_common.embedded import free_port, nats_command
from weightslab_common.errors import FailedPrecondition

from tests.support.processes import Process

LIMITS = Limits(max_connections=5, line_secs=0.5, idle_secs=600)


@pytest.fixture
async def link(nats_url: str) -> AsyncIterator[BusLink]:
    async with linked(nats_url, token=None) as link:
        await link.wait(10)
        yield link


@pytest.fixture
async def port(link: BusLink) -> AsyncIterator[int]:
    async with serving(
        lambda: Conversation(link, experiment="nobody"), host="localhost", port=0, limits=LIMITS
    ) as port:
        yield port


@contextlib.asynccontextmanager
async def _connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _exchange(port: int, sent: bytes, *, end: bool = False) -> list[dict[str, Any]]:
    """Send bytes and read replies until the console closes or has answered once."""
    async with _connected(port) as (reader, writer):
        with contextlib.suppress(ConnectionError):
            writer.write(sent)
            await writer.drain()
            if end:
                writer.write_eof()
            async with asyncio.timeout(60):
                if end:
                    return [orjson.loads(line) for line in (await reader.read()).splitlines()]
                line = await reader.readline()
                return [orjson.loads(line)] if line else []
    return []


async def _alive(port: int) -> bool:
    [reply] = await _exchange(port, b"help pause\n")
    return bool(reply["ok"])


async def test_a_line_is_answered_by_a_line(port: int) -> None:
    [reply] = await _exchange(port, b"help pause\n")
    assert reply["commands"][0]["aliases"] == ["p"]


async def test_lines_are_answered_in_order_and_empty_ones_not_at_all(port: int) -> None:
    replies = await _exchange(port, b"help p\n\n  \r\nhelp r\r\nexit\nhelp\n", end=True)
    assert [reply.get("commands", [{}])[0].get("name") for reply in replies] == ["pause", "resume", None]


async def test_aliases_do_what_their_commands_do(port: int) -> None:
    everything = await _exchange(port, b"help\n")
    assert await _exchange(port, b"h\n") == await _exchange(port, b"?\n") == everything
    assert await _exchange(port, b"quit\nhelp\n", end=True) == await _exchange(port, b"exit\n")
    for line in (b"cls\n", b"clear\n"):
        [reply] = await _exchange(port, line)
        assert reply["message"] == "clear is a command of the client"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"discrad 1\n", "did you mean discard"),
        (b"__import__('os').system('id')\n", "there is no command"),
        (b"discard 'a\n", "quoting does not close"),
        (b"help nothing\n", "there is no command 'nothing'"),
        ("日本\n".encode(), "there is no command '日本'"),
        (b"\xff\xfe\xfd\n", "UTF-8"),
        (b"list_uids --limit 0\n", "whole number of at least 1"),
        (b"operate 9 1 1\n", "op_type is 1 add"),
        (b"operate 1 1 [1,-2]\n", "a list of neurons"),
        (b"pause\n", "the trainer does not answer"),
        (b"discard 1 --loader train\n", "the ledger does not answer"),
    ],
)
async def test_what_cannot_be_done_is_said(port: int, line: bytes, said: str) -> None:
    [reply] = await _exchange(port, line)
    assert not reply["ok"]
    assert said in reply["error"]


async def test_a_status_tells_what_is_known_and_what_is_missing(port: int) -> None:
    [reply] = await _exchange(port, b"status\n")
    assert reply["ok"]
    assert reply["trainer_connected"] is False
    assert "no ledger answers for experiment nobody" in reply["missing"]


@pytest.mark.parametrize(
    "sent",
    [
        b"x" * (LINE_MAX_BYTES + 10) + b"\n",
        b"x" * (3 * LINE_MAX_BYTES),
        b"POST / HTTP/1.1\r\nContent-Length: 6\r\n\r\npause\n",
        b"GET /?a=b HTTP/1.0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n",
        b"\x00" * 100 + b"\n",
        os.urandom(4096) + b"\x00\n",
    ],
    ids=["over-long", "endless", "http-post", "http-get", "tls", "zeros", "random"],
)
async def test_what_is_no_console_client_is_closed(port: int, sent: bytes) -> None:
    replies = await _exchange(port, sent, end=True)
    assert all(not reply["ok"] for reply in replies)
    assert await _alive(port)


async def test_commands_in_the_body_of_a_request_are_not_carried_out(port: int) -> None:
    replies = await _exchange(port, b"POST / HTTP/1.1\r\n\r\nhelp\nhelp\n", end=True)
    assert len(replies) == 1


async def test_a_line_that_was_cut_off_is_not_carried_out(port: int) -> None:
    [reply] = await _exchange(port, b"discard 17", end=True)
    assert not reply["ok"]
    assert "did not end" in reply["error"]


async def test_a_line_that_never_ends_is_closed_in_time(port: int) -> None:
    async with _connected(port) as (reader, writer):
        writer.write(b"discard 1")
        await writer.drain()
        async with asyncio.timeout(60):
            assert await reader.read() == b""


async def test_a_connection_that_says_nothing_is_closed_in_time(link: BusLink) -> None:
    limits = Limits(idle_secs=0.2)
    async with (
        serving(lambda: Conversation(link, experiment="x"), host="localhost", port=0, limits=limits) as port,
        _connected(port) as (reader, _),
        asyncio.timeout(60),
    ):
        assert await reader.read() == b""


async def test_silent_connections_keep_nobody_out(port: int) -> None:
    async with contextlib.AsyncExitStack() as stack:
        speaker = await stack.enter_async_context(_connected(port))
        speaker[1].write(b"help p\n")
        assert orjson.loads(await speaker[0].readline())["ok"]
        silent = [await stack.enter_async_context(_connected(port)) for _ in range(3 * LIMITS.max_connections)]
        silent[-1][1].write(b"discard 1")
        async with asyncio.timeout(60):
            assert await _alive(port)
            assert await silent[0][0].read() == b"", "the oldest of the silent ones has made room"
        speaker[1].write(b"help r\n")
        assert orjson.loads(await speaker[0].readline())["ok"], "who has spoken stays"


async def test_connections_beyond_the_bound_are_refused_and_others_go_on(port: int) -> None:
    async with contextlib.AsyncExitStack() as stack:
        held = [await stack.enter_async_context(_connected(port)) for _ in range(LIMITS.max_connections)]
        for reader, writer in held:
            writer.write(b"help p\n")
            assert orjson.loads(await reader.readline())["ok"]
        for _ in range(100):
            [refusal] = await _exchange(port, b"", end=True)
            assert "5 connections" in refusal["error"]
        reader, writer = held[0]
        writer.write(b"help r\n")
        assert orjson.loads(await reader.readline())["ok"]
    async with asyncio.timeout(60):
        while not (await _exchange(port, b"help p\n"))[0]["ok"]:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_a_client_that_takes_no_replies_is_closed(port: int) -> None:
    async with _connected(port) as (_, writer):
        with pytest.raises((ConnectionError, TimeoutError)):
            async with asyncio.timeout(60):
                while True:
                    writer.write(b"help\n" * 1000)
                    await writer.drain()
    assert await _alive(port)


async def test_a_busy_port_is_a_clear_sentence(port: int, link: BusLink) -> None:
    with pytest.raises(FailedPrecondition, match=f"port {port} for the console .* is busy: choose another"):
        async with serving(lambda: Conversation(link, experiment=None), host="localhost", port=port):
            pass


async def test_closing_ends_open_conversations(link: BusLink) -> None:
    async with contextlib.AsyncExitStack() as stack:
        async with serving(lambda: Conversation(link, experiment="x"), host="localhost", port=0) as port:
            reader, writer = await stack.enter_async_context(_connected(port))
            writer.write(b"help p\n")
            await reader.readline()
        assert await reader.read() == b""


async def test_without_a_bus_help_works_and_the_rest_says_what_is_missing() -> None:
    async with (
        linked(f"nats://127.0.0.1:{free_port()}", token=None) as link,
        serving(lambda: Conversation(link, experiment=None), host="localhost", port=0) as port,
    ):
        assert await _alive(port)
        [reply] = await _exchange(port, b"status\n")
        assert "is NATS running?" in reply["error"]


@pytest.mark.parametrize(
    ("jetstream", "said"), [(True, "no experiment has been seen on this bus"), (False, "is JetStream enabled?")]
)
async def test_a_bus_that_nobody_has_used_is_told(tmp_path: Path, jetstream: bool, said: str) -> None:
    port = free_port()
    command = nats_command(tmp_path, port=port)
    if not jetstream:
        command = [command[0], "-a", "127.0.0.1", "-p", str(port)]
    server = Process(command, log=tmp_path / "log")
    server.start()
    try:
        async with (
            linked(f"nats://127.0.0.1:{port}", token=None) as link,
            serving(lambda: Conversation(link, experiment=None), host="localhost", port=0) as console,
        ):
            await link.wait(10)
            [reply] = await _exchange(console, b"status\n")
    finally:
        server.stop()
    assert said in reply["error"]


async def test_only_this_machine_is_served_unless_told_otherwise(
    port: int, link: BusLink, caplog: pytest.LogCaptureFixture
) -> None:
    # Another address of this machine: a server that listens on all of them is reached there, too.
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.2", port)
    assert "whoever reaches it" not in caplog.text
    async with serving(lambda: Conversation(link, experiment="x"), host="0.0.0.0", port=0) as open_port:
        assert "the console listens at 0.0.0.0: whoever reaches it can change the run" in caplog.text
        _, writer = await asyncio.open_connection("127.0.0.2", open_port)
        writer.close()
        await writer.wait_closed()
