"""A reply as people read it: indented lines, columns for lists, colours by meaning."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.styles import Style

STYLE = Style.from_dict(
    {"ok": "ansigreen", "error": "ansired", "key": "ansicyan", "number": "ansimagenta", "null": "ansibrightblack"}
)
_INDENT = "  "
Fragments = Iterator[tuple[str, str]]


def formatted(reply: dict[str, Any]) -> StyleAndTextTuples:
    """`reply` as styled text that ends with a new line."""
    body = {key: value for key, value in reply.items() if key != "ok"}
    if not reply.get("ok"):
        return [("class:error", "error "), ("", f"{shown(str(body.get('error', '')))}\n")]
    if body.keys() == {"commands"}:
        return [("class:ok", "ok\n"), *_commands(body["commands"])]
    return [("class:ok", "ok\n"), *_mapping(body, depth=0)]


def plain(reply: dict[str, Any]) -> str:
    """`reply` as text without colours."""
    return "".join(fragment[1] for fragment in formatted(reply))


def shown(text: str) -> str:
    """`text` without characters that act on a terminal; new lines and tabs stay."""
    return "".join(character if character.isprintable() or character in "\n\t" else "�" for character in text)


def _commands(described: list[dict[str, Any]]) -> Fragments:
    """What `help` tells: wider than a terminal as a table."""
    for command in described:
        yield "class:key", f"{_INDENT}{shown(command['usage'])}"
        yield "", "".join(f", {alias}" for alias in command["aliases"]) + "\n"
        yield "", f"{_INDENT * 3}{shown(command['summary'])}\n"
        if command["example"] != command["usage"]:
            yield "class:null", f"{_INDENT * 3}{shown(command['example'])}\n"


def _mapping(value: dict[str, Any], *, depth: int) -> Fragments:
    width = max((len(str(key)) for key in value), default=0)
    for key, inner in value.items():
        yield "", _INDENT * depth
        yield "class:key", shown(str(key)).ljust(width)
        yield from _inner(inner, depth=depth)


def _inner(value: object, *, depth: int) -> Fragments:
    if isinstance(value, dict) and value:
        yield "", "\n"
        yield from _mapping(value, depth=depth + 1)
    elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        yield "", "\n"
        yield from _table(value, depth=depth + 1)
    elif isinstance(value, str) and "\n" in value:
        yield "", "\n" + "".join(f"{_INDENT * (depth + 1)}{line}\n" for line in shown(value).splitlines())
    else:
        yield "", "  "
        yield _scalar(value)
        yield "", "\n"


def _table(rows: list[dict[str, Any]], *, depth: int) -> Fragments:
    """Rows under their keys, as wide as the widest value."""
    keys = list(rows[0])
    heads = [shown(str(key)) for key in keys]
    cells = [[_scalar(row.get(key)) for key in keys] for row in rows]
    widths = [max(len(head), *(len(line[column][1]) for line in cells)) for column, head in enumerate(heads)]
    yield "", _INDENT * depth
    yield "class:key", "  ".join(head.ljust(width) for head, width in zip(heads, widths, strict=True)).rstrip() + "\n"
    for line in cells:
        yield "", _INDENT * depth
        for (style, text), width in zip(line, widths, strict=True):
            yield style, text.ljust(width) + "  "
        yield "", "\n"


def _scalar(value: object) -> tuple[str, str]:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "class:null", "–"
    if isinstance(value, bool):
        return "class:number", "yes" if value else "no"
    if isinstance(value, int):
        return "class:number", str(value)
    if isinstance(value, float):
        return "class:number", f"{value:.6g}"
    if isinstance(value, list):
        return "", ", ".join(_scalar(item)[1] for item in value) or "–"
    if isinstance(value, dict):
        return "", ", ".join(f"{shown(str(key))}={_scalar(item)[1]}" for key, item in value.items()) or "–"
    return "", shown(str(value)) or "–"
