"""The client at a terminal: history, completion, colours; and for scripts, lines in and JSON lines out."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterable
from pathlib import Path

import orjson
from prompt_toolkit import PromptSession, print_formatted_text
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import FileHistory
from prompt_toolkit.shortcuts import clear
from weightslab_common.errors import Unavailable, WeightsLabError

from weightslab.console import display
from weightslab.console.client import Client
from weightslab.console.completion import names, tab
from weightslab.console.replies import encode, failure

CLEAR = frozenset({"clear", "cls"})
EXIT = frozenset({"exit", "quit"})


def history_file() -> Path:
    """Where typed lines are kept between sessions, after the XDG base directory specification."""
    base = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return base / "weightslab" / "console_history"


async def converse(client: Client, *, as_json: bool) -> int:
    """Talk at the terminal until `exit` or the end of input; return the exit status."""
    file = history_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o600)
    session: PromptSession[str] = PromptSession(
        history=FileHistory(str(file)), completer=await names(client), complete_while_typing=False, key_bindings=tab()
    )
    while True:
        try:
            line = (await session.prompt_async("weightslab> ")).strip()
        except KeyboardInterrupt:
            continue
        except EOFError:
            return 0
        if line in CLEAR:
            clear()
        elif line:
            _show(await _answer(client, line), as_json=as_json)
            if line in EXIT:
                return 0
            if line.split()[0] == "use":
                session.completer = await names(client)


async def _answer(client: Client, line: str) -> bytes:
    """The reply to a line, also to one that cannot be sent. Raises Unavailable when the console has gone."""
    try:
        return await client.ask(line)
    except Unavailable:
        raise
    except WeightsLabError as error:
        return encode(failure(error.message)).rstrip()


async def run_lines(client: Client, lines: Iterable[str], *, as_json: bool) -> int:
    """Carry out lines one after the other; return 1 when any of them failed, else 0."""
    status = 0
    # Read beside the loop: a pipe may keep us waiting while the console closes.
    source = iter(lines)
    while (line := await asyncio.to_thread(next, source, None)) is not None:
        line = line.strip()
        if not line or line in CLEAR:
            continue
        reply = await _answer(client, line)
        _show(reply, as_json=as_json)
        if not orjson.loads(reply)["ok"]:
            status = 1
        if line in EXIT:
            break
    return status


def _show(reply: bytes, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(reply.decode() + "\n")
    elif sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        print_formatted_text(FormattedText(display.formatted(orjson.loads(reply))), style=display.STYLE, end="")
    else:
        sys.stdout.write(display.plain(orjson.loads(reply)))
    sys.stdout.flush()


async def talk(client: Client, *, lines: Iterable[str] | None, as_json: bool) -> int:
    """`lines` or else standard input: a conversation at a terminal, commands from a pipe."""
    if lines is not None:
        return await run_lines(client, lines, as_json=as_json)
    if sys.stdin.isatty():
        return await converse(client, as_json=as_json)
    return await run_lines(client, sys.stdin, as_json=as_json)
