"""How a line becomes a command: words quoted as in a shell, options by name. Nothing is ever evaluated."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from weightslab_common.errors import InvalidArgument

LINE_MAX_BYTES = 64 * 1024
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Syntax:
    """What a command takes."""

    name: str
    aliases: tuple[str, ...] = ()
    # As help shows it, without the name.
    usage: str = ""
    summary: str
    example: str
    # Options that take no value, and those that take one.
    flags: frozenset[str] = frozenset()
    options: frozenset[str] = frozenset()
    min_words: int = 0
    # None: any number.
    max_words: int | None = 0

    @property
    def line(self) -> str:
        return f"{self.name} {self.usage}".rstrip()


@dataclass(frozen=True, slots=True)
class Arguments:
    """What was given to a command."""

    words: list[str]
    flags: frozenset[str] = frozenset()
    options: Mapping[str, str] = field(default_factory=dict)

    def integer(self, option: str, *, default: int, minimum: int) -> int:
        """The value of an option as a number; raises InvalidArgument."""
        text = self.options.get(option)
        return default if text is None else integer(text, what=option, minimum=minimum)


def integer(text: str, *, what: str, minimum: int) -> int:
    """`text` as a whole number of at least `minimum`; raises InvalidArgument that names `what`."""
    if not _INTEGER.fullmatch(text) or int(text) < minimum:
        raise InvalidArgument(f"{what} takes a whole number of at least {minimum}, not {text!r}")
    return int(text)


def decode(line: bytes) -> str:
    """`line` as text; raises InvalidArgument when it is binary."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidArgument("a command is a line of UTF-8 text; this was binary") from None
    text = text.rstrip("\r\n")
    for character in text:
        if ord(character) < 32 and character != "\t":
            raise InvalidArgument(f"a command is a line of text; this one holds the control character {character!r}")
    return text


def split(line: str) -> list[str]:
    """The words of `line`, quoted as in a shell; raises InvalidArgument when a quote is not closed."""
    try:
        return shlex.split(line)
    except ValueError as error:
        raise InvalidArgument(f"the quoting does not close ({error}): write 'a b' or \"it's\" as in a shell") from None


def arguments(syntax: Syntax, words: list[str]) -> Arguments:
    """Sort the words after a command's name into options and plain words; raises InvalidArgument with the usage.

    `--` ends the options, so that any uid or tag can be named.
    """
    plain: list[str] = []
    flags: set[str] = set()
    options: dict[str, str] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            plain += rest
            break
        name, equals, value = word.partition("=")
        if word in syntax.flags:
            flags.add(word)
        elif name in syntax.options:
            if not equals and not rest:
                raise InvalidArgument(f"{name} needs a value; usage: {syntax.line}")
            options[name] = value if equals else rest.pop(0)
        elif word.startswith("--"):
            raise InvalidArgument(
                f"{syntax.name} has no option {word!r}; usage: {syntax.line} (after `--` every word is taken as it is)"
            )
        else:
            plain.append(word)
    if len(plain) < syntax.min_words or (syntax.max_words is not None and len(plain) > syntax.max_words):
        raise InvalidArgument(f"usage: {syntax.line}; for example: {syntax.example}")
    return Arguments(plain, frozenset(flags), options)


def unknown_command(name: str, known: Iterable[str]) -> InvalidArgument:
    """The error for a name that is no command, with the nearest ones."""
    near = difflib.get_close_matches(name, list(known), n=2)
    hint = f"did you mean {' or '.join(near)}?" if near else "`help` lists the commands"
    return InvalidArgument(f"there is no command {name[:80]!r}: {hint}")
