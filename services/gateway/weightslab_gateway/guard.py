"""The one wrapper around every method, for both transports: identity, limits, deadlines, metrics, errors, the end."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Iterable

from grpclib import GRPCError
from grpclib.const import Handler
from grpclib.server import Stream
from weightslab_common.errors import DeadlineExceeded, Internal, ResourceExhausted, Unavailable, WeightsLabError
from weightslab_common.tokens import Tokens

from weightslab_gateway.access import authorize
from weightslab_gateway.context import CallContext, enter_call
from weightslab_gateway.metrics import Metrics
from weightslab_gateway.protocol.call import Call, CallerGone, CallerStuck
from weightslab_gateway.protocol.status import failure
from weightslab_gateway.services import Servable

log = logging.getLogger(__name__)

STOPPING = "the gateway is stopping; connect again"
REQUEST_ID = "x-request-id"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Guard:
    """Wraps methods, and knows the calls that run."""

    def __init__(self, *, tokens: Tokens, metrics: Metrics, max_calls: int) -> None:
        self._tokens = tokens
        self._metrics = metrics
        self._max_calls = max_calls
        self._running: set[asyncio.Task[object]] = set()
        self._stopping = False

    def wrap(self, services: Iterable[Servable]) -> dict[str, Handler]:
        """The methods of all services by path, each behind the guard."""
        return {
            path: self._guarded(handler, path) for service in services for path, handler in service.mapping().items()
        }

    async def stop(self, *, grace_secs: float) -> None:
        """End every running call with UNAVAILABLE, refuse new ones, and wait until they have ended."""
        self._stopping = True
        running = set(self._running)
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=grace_secs)

    def _guarded(self, handler: Handler, path: str) -> Handler:
        async def run(stream: Stream[object, object]) -> None:
            assert isinstance(stream, Call)
            await self._run(handler, stream, path)

        return handler._replace(func=run)

    async def _run(self, handler: Handler, call: Call, path: str) -> None:
        request_id = _request_id(call)
        call.initial_metadata[REQUEST_ID] = request_id
        started = time.perf_counter()
        status = "CANCELLED"
        self._metrics.calls_running.inc()
        try:
            await self._admitted(handler, call, path, request_id)
            status = "OK"
        except WeightsLabError as error:
            status = error.status.name
            log.debug("%s: %s", path, error, extra={"request_id": request_id, "peer": call.peer, "status": status})
            raise failure(error.status, error.message, request_id=request_id) from error
        except GRPCError as error:
            status = error.status.name
            raise
        finally:
            self._metrics.calls_running.dec()
            self._metrics.calls.labels(path, call.transport, status).inc()
            if not handler.cardinality.server_streaming:
                self._metrics.call_seconds.labels(path, call.transport).observe(time.perf_counter() - started)

    async def _admitted(self, handler: Handler, call: Call, path: str, request_id: str) -> None:
        """Run the handler; every fault leaves as a WeightsLabError, CallerGone or a cancellation by the caller."""
        if self._stopping:
            raise Unavailable(STOPPING)
        if len(self._running) >= self._max_calls:
            raise ResourceExhausted(f"{self._max_calls} calls run already, which is the limit; try again later")
        role = authorize(path, call.metadata.get("authorization", ""), self._tokens)
        enter_call(CallContext(role=role, request_id=request_id, deadline=call.deadline))
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        try:
            await _within_deadline(handler, call, path)
        except asyncio.CancelledError:
            if not self._stopping:
                raise
            # The cancellation was ours: the caller is still there and is told.
            task.uncancel()
            raise Unavailable(STOPPING) from None
        except CallerStuck as error:
            self._metrics.viewers_dropped.inc()
            raise ResourceExhausted(f"the caller does not read: {error}; connect again") from error
        except (WeightsLabError, GRPCError, CallerGone):
            raise
        except Exception as error:
            log.exception("fault in %s", path, extra={"request_id": request_id})
            raise Internal(f"a fault of the gateway; its log has the details under request id {request_id}") from error
        finally:
            self._running.discard(task)


async def _within_deadline(handler: Handler, call: Call, path: str) -> None:
    left_secs = call.deadline.time_remaining() if call.deadline else None
    limit = asyncio.timeout(left_secs)
    try:
        async with limit:
            await handler.func(call)
    except TimeoutError:
        if not limit.expired():
            raise
        raise DeadlineExceeded(f"{path} was not done within the {left_secs:.3g} s that the caller set") from None


def _request_id(call: Call) -> str:
    """The caller's own request id when it is harmless, else a new one."""
    given = call.metadata.get(REQUEST_ID, "")
    return given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
