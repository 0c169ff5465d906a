"""The console outside a training process: attached through the bus to any experiment."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator

from weightslab_common.errors import FailedPrecondition

from weightslab.console.bus_link import linked
from weightslab.console.conversation import Conversation
from weightslab.console.server import serving
from weightslab.console.settings import ConsoleSettings
from weightslab.studio import runfile

_CONNECT_SECS = 10.0


def bus_address(settings: ConsoleSettings) -> tuple[str, str | None]:
    """URL and token of the bus: as set, or of the studio that runs in the data folder.

    Raises FailedPrecondition when there is neither.
    """
    if settings.nats_url:
        return settings.nats_url, settings.nats_token
    entry = runfile.running(settings.data_dir)
    if entry is None:
        raise FailedPrecondition(
            f"no studio runs in {settings.data_dir} and WL_NATS_URL is not set: start one with `weightslab up`, name "
            "its folder with --data-dir, or set WL_NATS_URL"
        )
    return entry.nats_url, settings.nats_token or runfile.nats_token(settings.data_dir)


@contextlib.asynccontextmanager
async def attached(settings: ConsoleSettings, *, host: str, port: int) -> AsyncIterator[int]:
    """Serve a console while in this context; gives its port."""
    url, token = bus_address(settings)
    async with linked(url, token=token) as link:
        await link.wait(_CONNECT_SECS)
        async with serving(lambda: Conversation(link, experiment=settings.experiment), host=host, port=port) as taken:
            yield taken


@contextlib.asynccontextmanager
async def announced(settings: ConsoleSettings) -> AsyncIterator[None]:
    """Serve at the address of the settings, and say on stdout where that is."""
    async with attached(settings, host=settings.host, port=settings.port_to_take(settings.port)) as port:
        sys.stdout.write(f"console at {settings.host}:{port}\n")
        sys.stdout.flush()
        yield
