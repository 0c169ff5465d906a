"""The client at a terminal: history, completion, colours; and for scripts, lines in and JSON lines out."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
from prompt_toolkit import PromptSession, print_formatted_text
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import FileHistory
from prompt_toolkit.shortcuts import clear
from weightslab_common.errors import Unavailable, WeightsLabError

from weightslab.console import display
from weightslab.console.client import Client

CLEAR = frozenset({"clear", "cls"})
EXIT = frozenset({"exit", "quit"})


def history_file() -> Path:
    """Where typed lines are kept between sessions, after the XDG base directory specification."""
    base = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return base / "weightslab" / "console_history"


class Names(Completer):
    """Completes names of commands, and what a command's words can be."""

    def __init__(self, words: dict[str, list[str]], commands: dict[str, str]) -> None:
        # Per command, what may follow it; per command, its summary.
        self._words = words
        self._commands = commands

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        before = document.text_before_cursor
        word = document.get_word_before_cursor(WORD=True)
        first, *rest = before.split(" ")
        if not rest:
            names: Iterable[str] = self._commands
        else:
            names = self._words.get(first, [])
        for name in names:
            if name.startswith(word):
                yield Completion(name, start_position=-len(word), display_meta=self._commands.get(name, ""))


async def names(client: Client) -> Names:
    """Learn from the console what can be completed; a run that is not there completes commands alone."""
    commands, words = {}, {}
    for described in (await _reply(client, "help")).get("commands", []):
        for name in (described["name"], *described["aliases"]):
            commands[name] = described["summary"]
            words[name] = [part.strip("[]") for part in described["usage"].split() if part.startswith("[--")]
    loaders = [known["name"] for known in (await _reply(client, "list_loaders")).get("loaders", [])]
    hyperparameters = list((await _reply(client, "hp")).get("hyperparameters", {}))
    models = [known["name"] for known in (await _reply(client, "list_models")).get("models", [])]
    for name, values in (
        ("list_uids", loaders),
        ("hp", hyperparameters),
        ("set_hp", hyperparameters),
        ("plot_model", models),
        ("help", list(commands)),
    ):
        words[name] = words.get(name, []) + [shlex.quote(value) for value in values]
    return Names(words, commands)


async def _reply(client: Client, line: str) -> dict[str, Any]:
    reply = orjson.loads(await client.ask(line))
    assert isinstance(reply, dict)
    return reply


async def converse(client: Client, *, as_json: bool) -> int:
    """Talk at the terminal until `exit` or the end of input; return the exit status."""
    file = history_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o600)
    session: PromptSession[str] = PromptSession(
        history=FileHistory(str(file)), completer=await names(client), complete_while_typing=False
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
            try:
                _show(await client.ask(line), as_json=as_json)
            except Unavailable:
                raise
            except WeightsLabError as error:
                print_formatted_text(FormattedText(display.formatted({"ok": False, "error": error.message})))
            if line in EXIT:
                return 0


async def run_lines(client: Client, lines: Iterable[str], *, as_json: bool) -> int:
    """Carry out lines one after the other; return 1 when any of them failed, else 0."""
    status = 0
    # Read beside the loop: a pipe may keep us waiting while the console closes.
    source = iter(lines)
    while (line := await asyncio.to_thread(next, source, None)) is not None:
        line = line.strip()
        if not line or line in CLEAR:
            continue
        reply = await client.ask(line)
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
