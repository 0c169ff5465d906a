"""The console inside a training process: a thread with an event loop of its own."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future

from weightslab_common.settings import load

from weightslab.console.bus_link import linked
from weightslab.console.conversation import Conversation
from weightslab.console.server import serving
from weightslab.console.settings import ConsoleSettings

# Long, since a training run that starts may keep the machine busy.
_START_SECS = 60.0


async def serve_forever(
    *, experiment: str | None, nats_url: str, nats_token: str | None, host: str, port: int, ready: Future[int]
) -> None:
    """Serve until cancelled; `ready` gets the port, or the error when the address cannot be taken."""
    async with linked(nats_url, token=nats_token) as link:
        try:
            async with serving(lambda: Conversation(link, experiment=experiment), host=host, port=port) as taken:
                ready.set_result(taken)
                await asyncio.Event().wait()
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)


def start_console(
    *, experiment: str | None, nats_url: str, nats_token: str | None, host: str = "localhost", port: int | None = None
) -> int:
    """Serve the console from a daemon thread that ends with the process; return its port.

    `port` 0 or None takes a free one; so does the default of CLI_PORT when another run has it and nobody has chosen it.
    Raises FailedPrecondition when the address cannot be taken.
    """
    taken = load(ConsoleSettings).port_to_take(port)
    ready: Future[int] = Future()
    serve = serve_forever(
        experiment=experiment, nats_url=nats_url, nats_token=nats_token, host=host, port=taken, ready=ready
    )
    threading.Thread(target=asyncio.run, args=(serve,), name="weightslab-console", daemon=True).start()
    return ready.result(timeout=_START_SECS)
