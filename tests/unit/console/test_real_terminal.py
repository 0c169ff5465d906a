"""The client at a real terminal: what a person sees and what the keys do."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.processes import PATIENCE_SECS

SERVE = """
import asyncio
from weightslab.console.bus_link import BusLink
from weightslab.console.conversation import Conversation
from weightslab.console.server import serving

async def main():
    link = BusLink("nats://nowhere")
    async with serving(lambda: Conversation(link, experiment="x"), host="localhost", port=0) as port:
        print(port, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""
TAB, UP, CTRL_C, CTRL_D = "\t", "\x1b[A", "\x03", "\x04"


class Terminal:
    """A `weightslab console` at a terminal of its own."""

    def __init__(self, port: int, environment: dict[str, str]) -> None:
        self._unread = ""
        self._own, other = pty.openpty()
        termios.tcsetwinsize(other, (40, 120))
        command = [str(Path(sys.executable).parent / "weightslab"), "console", "--host", "localhost"]
        self.process = subprocess.Popen(
            [*command, "--port", str(port)],
            stdin=other,
            stdout=other,
            stderr=other,
            env=environment,
            start_new_session=True,
        )
        os.close(other)

    def type(self, keys: str) -> None:
        os.write(self._own, keys.encode())

    def see(self, text: str) -> str:
        """Wait until `text` is shown; return what was shown since the last time up to it."""
        end = time.monotonic() + PATIENCE_SECS
        while text not in self._unread:
            ready, _, _ = select.select([self._own], [], [], max(0, end - time.monotonic()))
            assert ready, f"{text!r} was not shown, but {self._unread!r}"
            self._unread += os.read(self._own, 65536).decode(errors="replace")
        shown, found, self._unread = self._unread.partition(text)
        return shown + found

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._own)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with subprocess.Popen([sys.executable, "-c", SERVE], stdout=subprocess.PIPE, text=True) as console:
        try:
            assert console.stdout
            yield int(console.stdout.readline())
        finally:
            console.kill()


@pytest.fixture
def terminal(port: int, tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def start(**environment: str) -> Terminal:
        given = {"TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1", "XDG_STATE_HOME": str(tmp_path)}
        clean = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
        opened.append(Terminal(port, {**clean, **given, **environment}))
        opened[-1].see("weightslab>")
        return opened[-1]

    yield start
    for one in opened:
        one.close()


def test_keys_complete_recall_clear_and_end(terminal: Callable[..., Terminal]) -> None:
    # Keys with a meaning of their own are typed at the prompt: before it, the terminal itself would act on them.
    first = terminal()
    # All at once, as a quick typist or a paste does: the word is complete before the line is sent.
    first.type(f"help paus{TAB}\r")
    assert "32mok" in first.see("Pause; answered when"), "an answer is coloured"
    first.see("weightslab>")
    first.type(f"help re{TAB}")
    first.see("resume")
    first.type(f"{CTRL_C}nonsense\r")
    assert "31merror" in first.see("there is no command")
    first.see("weightslab>")
    first.type("clear\r")
    first.see("\x1b[2J")
    first.see("weightslab>")
    first.type(CTRL_D)
    assert first.process.wait(PATIENCE_SECS) == 0

    second = terminal(NO_COLOR="1")
    # Back over `clear` and the error to what the session before had sent.
    second.type(f"{UP}{UP}{UP}\r")
    assert "32mok" not in second.see("Pause; answered when")
    second.see("weightslab>")
    second.type("exit\r")
    second.see("goodbye")
    assert second.process.wait(PATIENCE_SECS) == 0
