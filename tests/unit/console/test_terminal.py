"""The client, against a real console."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from weightslab.console.bus_link import BusLink
from weightslab.console.client import Client, connected
from weightslab.console.completion import Names, names
from weightslab.console.conversation import Conversation
from weightslab.console.server import serving
from weightslab.console.terminal import converse, history_file, run_lines
from weightslab.console.thread import start_console
from weightslab_common.embedded import free_port
from weightslab_common.errors import InvalidArgument, Unavailable


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    link = BusLink("nats://nowhere")
    async with (
        serving(lambda: Conversation(link, experiment="x"), host="localhost", port=0) as port,
        connected("localhost", port) as client,
    ):
        yield client


def _completed(completer: Names, text: str) -> list[str]:
    return [found.text for found in completer.get_completions(Document(text), CompleteEvent())]


async def test_names_of_commands_and_options_are_completed(client: Client) -> None:
    completer = await names(client)
    assert _completed(completer, "dis") == ["discard"]
    assert _completed(completer, "list_uids --d") == ["--discarded"]
    assert "resume" in _completed(completer, "help r")
    assert _completed(completer, "nonsense x") == []


def test_what_a_run_has_is_completed_where_it_fits() -> None:
    completer = Names({"discard": ""}, {"discard": ["--loader"]}, {"--loader": ["train", "'my val'"], "--limit": []})
    assert _completed(completer, "discard 17 --loader ") == ["train", "'my val'"]
    assert _completed(completer, "discard 17 --loader t") == ["train"]
    assert _completed(completer, "list_uids --limit ") == []


async def test_lines_of_a_pipe_are_carried_out_and_a_failure_is_the_status(
    client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await run_lines(client, ["help p\n", "\n", "clear\n"], as_json=True) == 0
    assert await run_lines(client, ["nonsense\n", "help p\n", "exit\n", "help r\n"], as_json=True) == 1
    replies = [orjson.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [reply["ok"] for reply in replies] == [True, False, True, True]


async def test_a_line_that_is_too_long_is_refused_and_the_next_one_carried_out(
    client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await run_lines(client, ["x" * 70_000, "help p\n"], as_json=True) == 1
    replies = [orjson.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert "one line of less than 65536 bytes" in replies[0]["error"]
    assert replies[1]["ok"]


async def test_a_conversation_at_the_terminal_keeps_its_history(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with create_pipe_input() as typed, create_app_session(input=typed, output=DummyOutput()):
        typed.send_text("help pause\nexit\n")
        async with asyncio.timeout(60):
            assert await converse(client, as_json=True) == 0
    assert history_file().parent == tmp_path / "weightslab"
    assert "help pause" in history_file().read_text()
    assert stat.S_IMODE(history_file().stat().st_mode) == 0o600
    assert '"aliases":["p"]' in capsys.readouterr().out


async def test_no_console_is_a_clear_error() -> None:
    port = free_port()
    with pytest.raises(Unavailable, match=f"no console answers at localhost:{port}"):
        async with connected("localhost", port):
            pass


async def test_a_line_that_cannot_be_one_is_not_sent(client: Client) -> None:
    with pytest.raises(InvalidArgument, match="one line"):
        await client.ask("a\nb")
    with pytest.raises(InvalidArgument, match="one line"):
        await client.ask("x" * 70_000)


async def test_a_console_that_has_gone_is_told(client: Client) -> None:
    await client.ask("exit")
    with pytest.raises(Unavailable, match="ended the connection"):
        await client.ask("status")


async def test_the_console_of_a_run_serves_from_a_thread(nats_url: str) -> None:
    port = await asyncio.to_thread(
        start_console, experiment="threaded", nats_url=nats_url, nats_token=None, host="localhost", port=None
    )
    async with connected("localhost", port) as client:
        reply = orjson.loads(await client.ask("help status"))
    assert reply["ok"]
