"""The running host: one socket, one server."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from importlib.metadata import version

import uvicorn
from weightslab_common.errors import FailedPrecondition

from weightslab_ui import app
from weightslab_ui.assets import Asset
from weightslab_ui.settings import UiSettings

log = logging.getLogger(__name__)


class _Server(uvicorn.Server):
    """Leaves the signals to the process, which stops the server itself."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(settings: UiSettings) -> socket.socket:
    """A listening socket. Raises FailedPrecondition that names the setting to change."""
    family = socket.AF_INET6 if ":" in settings.bind else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.bind.strip("[]"), settings.port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise FailedPrecondition(
                f"port {settings.port} for the page is busy: end what listens there, or choose another with VITE_PORT"
            ) from error
        raise FailedPrecondition(
            f"cannot listen on {settings.bind}:{settings.port} ({error.strerror}): check WL_UI_BIND and VITE_PORT"
        ) from error
    return listener


@contextlib.asynccontextmanager
async def open_service(
    settings: UiSettings, *, page: Mapping[str, Asset], listener: socket.socket
) -> AsyncIterator[None]:
    """Serve `page` from `listener` until the context is left."""
    application = app.build(settings, page, version=version("weightslab"))
    config = uvicorn.Config(
        application,
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=3,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]), name="page server")
    log.info("the page is served", extra={"url": f"http://{settings.bind}:{settings.port}"})
    try:
        yield
    finally:
        server.should_exit = True
        await task
