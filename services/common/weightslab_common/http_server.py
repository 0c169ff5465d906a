"""uvicorn inside a process of ours: it listens where we say and leaves signals to the process."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from weightslab_common.ports import BACKLOG


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class HttpServer:
    """Serves an ASGI application on a listening socket; `protocol` makes each of its connections."""

    def __init__(
        self,
        application: Any,
        *,
        tls: ssl.SSLContext | None = None,
        protocol: Callable[..., asyncio.Protocol] = HttpToolsProtocol,
    ) -> None:
        config = uvicorn.Config(
            application,
            # Any callable will do.
            http=cast("type[asyncio.Protocol]", protocol),
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            # Pages keep asking for images: longer than the pauses of a person.
            timeout_keep_alive=30,
            timeout_graceful_shutdown=3,
            backlog=BACKLOG,
        )
        config.load()
        if tls is not None:
            config.ssl = tls
        self._server = _Server(config)
        self._task: asyncio.Task[None] | None = None

    async def start(self, listening: socket.socket) -> None:
        """Return when connections are accepted."""
        self._task = asyncio.create_task(self._server.serve(sockets=[listening]))
        while not self._server.started:
            if self._task.done():
                self._task.result()
            await asyncio.sleep(0.005)

    async def close(self) -> None:
        """Stop accepting, let requests end within three seconds, close connections."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task
