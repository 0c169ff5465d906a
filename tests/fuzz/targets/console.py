"""Lines of the console: any bytes, up to the moment at which a command asks the bus."""

from __future__ import annotations

import asyncio

import orjson
from weightslab.console.bus_link import BusLink
from weightslab.console.commands import COMMANDS
from weightslab.console.conversation import Conversation

_LOOP = asyncio.new_event_loop()


def attack(data: bytes) -> None:
    conversation = Conversation(BusLink("nats://127.0.0.1:1"), experiment="digits")
    for line in data.split(b"\n"):
        reply = _LOOP.run_until_complete(conversation.answer(line))
        if reply is None:
            continue
        # One JSON line, whatever was asked.
        orjson.dumps(reply)
        assert isinstance(reply["ok"], bool), reply
        assert "internal fault" not in str(reply.get("error", "")), f"{line!r} is an internal fault"


def seeds() -> list[bytes]:
    return [
        *(command.syntax.example.encode() for command in COMMANDS),
        b"help\nstatus\nexit",
        b"add_tag 3 'two words' --loader train",
        b"operate 1 2 [1,2,3]",
        b"set_hp optimizer.lr 0.1",
        b"discard -- --odd -1 \xe6\x97\xa5",
    ]
