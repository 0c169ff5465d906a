"""What every service of the gateway is built on."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from typing import Any, ClassVar, Protocol

import betterproto
from grpclib.const import Handler


class Servable(Protocol):
    """Something with methods to serve."""

    def mapping(self) -> Mapping[str, Handler]:
        """Methods by their path."""
        ...


class Served:
    """Mixed into the generated service classes, before them."""

    # By the name of the method, what its request is read as where that is not the whole request.
    read_as: ClassVar[Mapping[str, type[betterproto.Message]]] = {}

    def mapping(self) -> Mapping[str, Handler]:
        """Methods by their path."""
        generated: Mapping[str, Handler] = self.__mapping__()  # type: ignore[attr-defined]
        return {
            path: handler._replace(request_type=self.read_as.get(path.rpartition("/")[2], handler.request_type))
            for path, handler in generated.items()
        }

    async def _call_rpc_handler_server_stream(
        self, handler: Callable[[Any], AsyncIterator[Any]], stream: Any, request: AsyncIterable[Any] | Any
    ) -> None:
        """Send what `handler` yields; close it whatever happens, so that its cleaning up is done before the call ends.

        The generated code calls this; its own version leaves an interrupted generator to the garbage collector.
        """
        async with aclosing(handler(request)) as replies:  # type: ignore[type-var]
            async for reply in replies:
                await stream.send_message(reply)
