"""What Tab completes: commands, and what the words of a command can be in this run."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, get_common_complete_suffix
from prompt_toolkit.document import Document
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from weightslab.console.client import Client


@dataclass(frozen=True, slots=True)
class Names(Completer):
    """Completes the word before the cursor."""

    # Each command and alias with its summary.
    commands: Mapping[str, str]
    # Per command, what may follow it.
    words: Mapping[str, list[str]]
    # Per option that takes a value, what that can be.
    values: Mapping[str, list[str]]

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        *before, word = document.text_before_cursor.split(" ")
        for name in self._fitting([part for part in before if part]):
            if name.startswith(word):
                yield Completion(name, start_position=-len(word), display_meta=self.commands.get(name, ""))

    def _fitting(self, before: list[str]) -> Iterable[str]:
        if not before:
            return self.commands
        if before[-1] in self.values:
            return self.values[before[-1]]
        return self.words.get(before[0], [])


async def names(client: Client) -> Names:
    """Learn from the console what can be completed; a run that is not there completes commands alone."""
    commands: dict[str, str] = {}
    words: dict[str, list[str]] = {}
    for described in (await _reply(client, "help")).get("commands", []):
        for name in (described["name"], *described["aliases"]):
            commands[name] = described["summary"]
            words[name] = [part.strip("[]") for part in described["usage"].split() if part.startswith("[--")]
    loaders = [known["name"] for known in (await _reply(client, "list_loaders")).get("loaders", [])]
    hyperparameters = list((await _reply(client, "hp")).get("hyperparameters", {}))
    models = [known["name"] for known in (await _reply(client, "list_models")).get("models", [])]
    counted = (await _reply(client, "status")).get("samples") or {}
    for name, values in (
        ("list_uids", loaders),
        ("add_tag", list(counted.get("tags", {}))),
        ("hp", hyperparameters),
        ("set_hp", hyperparameters),
        ("plot_model", models),
        ("operate", models),
        ("use", (await _reply(client, "experiments")).get("experiments", [])),
        ("help", list(commands)),
    ):
        words[name] = [shlex.quote(value) for value in values] + words.get(name, [])
    return Names(commands, words, {"--loader": [shlex.quote(loader) for loader in loaders], "--limit": []})


async def _reply(client: Client, line: str) -> dict[str, Any]:
    reply = orjson.loads(await client.ask(line))
    assert isinstance(reply, dict)
    return reply


def tab() -> KeyBindings:
    """Tab writes what all completions begin with, before the next key is read; when that is nothing, it lists them."""
    bindings = KeyBindings()

    @bindings.add("tab")
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        found = list(buffer.completer.get_completions(buffer.document, CompleteEvent(completion_requested=True)))
        if common := get_common_complete_suffix(buffer.document, found):
            buffer.insert_text(common)
        elif buffer.complete_state:
            buffer.complete_next()
        elif len(found) > 1:
            buffer.start_completion(select_first=False)

    return bindings
