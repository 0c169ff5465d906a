"""One connection's conversation: a line in, a reply out."""

from __future__ import annotations

import logging

from weightslab_common.bus import Bus
from weightslab_common.errors import FailedPrecondition, NotFound, WeightsLabError

from weightslab.console import grammar
from weightslab.console.bus_link import BusLink
from weightslab.console.commands import BY_NAME, COMMANDS, Command
from weightslab.console.experiment import Experiment, known_experiments
from weightslab.console.grammar import Arguments, Syntax
from weightslab.console.replies import Reply, failure

log = logging.getLogger(__name__)


class Conversation:
    """Answers lines one after the other. `ended` is true once the other side has said goodbye."""

    def __init__(self, link: BusLink, *, experiment: str | None) -> None:
        self.ended = False
        self._link = link
        # None: the only one there is.
        self._experiment = experiment

    async def answer(self, line: bytes) -> Reply | None:
        """The reply to a line, with `ok`; None for an empty line, which asks for nothing. Raises nothing."""
        try:
            words = grammar.split(grammar.decode(line))
            if not words:
                return None
            return {"ok": True, **await self._carry_out(words[0], words[1:])}
        except WeightsLabError as error:
            return failure(error.message)
        except Exception:
            log.exception("fault in a console command")
            return failure("an internal fault; the log of the console's process has the details")

    async def _carry_out(self, name: str, words: list[str]) -> Reply:
        command = BY_NAME.get(name)
        if command is None:
            raise grammar.unknown_command(name, BY_NAME)
        given = grammar.arguments(command.syntax, words)
        if command.handler:
            bus = self._link.bus
            return await command.handler(Experiment(await self._name(bus), bus), given)
        return await self._of_the_connection(command, given)

    async def _of_the_connection(self, command: Command, given: Arguments) -> Reply:
        match command.syntax.name:
            case "help":
                return _help(given)
            case "experiments":
                return {"experiments": await known_experiments(self._link.bus), "in_use": self._experiment}
            case "use":
                return await self._use(given.words[0])
            case "exit":
                self.ended = True
                return {"message": "goodbye"}
            case _:
                return {"message": f"{command.syntax.name} is a command of the client"}

    async def _use(self, name: str) -> Reply:
        known = await known_experiments(self._link.bus)
        if name not in known:
            raise NotFound(f"no experiment {name!r} has been seen on this bus; there are: {', '.join(known) or 'none'}")
        self._experiment = name
        return {"experiment": name}

    async def _name(self, bus: Bus) -> str:
        if self._experiment:
            return self._experiment
        known = await known_experiments(bus)
        if len(known) == 1:
            return known[0]
        if not known:
            raise FailedPrecondition("no experiment has been seen on this bus: start a training run with wl.serve()")
        raise FailedPrecondition(f"there are several experiments: choose one of {', '.join(known)} by `use <name>`")


def _help(given: Arguments) -> Reply:
    if not given.words:
        return {"commands": [_described(command.syntax) for command in COMMANDS]}
    command = BY_NAME.get(given.words[0])
    if command is None:
        raise grammar.unknown_command(given.words[0], BY_NAME)
    return {"commands": [_described(command.syntax)]}


def _described(syntax: Syntax) -> Reply:
    return {
        "name": syntax.name,
        "aliases": list(syntax.aliases),
        "usage": syntax.line,
        "summary": syntax.summary,
        "example": syntax.example,
    }
