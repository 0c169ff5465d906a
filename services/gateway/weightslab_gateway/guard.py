"""The one wrapper around every method, for both transports: identity, limits, deadlines, metrics, errors, the end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable

from grpclib import GRPCError
from grpclib.const import Handler
from grpclib.server import Stream
from weightslab_common import traces
from weightslab_common.errors import DeadlineExceeded, Internal, ResourceExhausted, Unavailable, WeightsLabError
from weightslab_common.requests import current_request_id, request_id_of, working_for

from weightslab_gateway.access import authorize
from weightslab_gateway.context import CallContext, enter_call
from weightslab_gateway.doors import Doors, host_of
from weightslab_gateway.metrics import Metrics
from weightslab_gateway.protocol.call import Call, CallerGone, CallerStuck
from weightslab_gateway.protocol.status import failure
from weightslab_gateway.services import Servable

log = logging.getLogger(__name__)

STOPPING = "the gateway is stopping; connect again"
REQUEST_ID = "x-request-id"


class Guard:
    """Wraps methods, and knows the calls that run."""

    def __init__(self, *, doors: Doors, metrics: Metrics, max_calls: int) -> None:
        self._doors = doors
        self._metrics = metrics
        self._max_calls = max_calls
        # With whether each is a stream to the caller, which has no end of its own.
        self._running: dict[asyncio.Task[object], bool] = {}
        self.stopping = False

    def wrap(self, services: Iterable[Servable]) -> dict[str, Handler]:
        """The methods of all services by path, each behind the guard."""
        return {
            path: self._guarded(handler, path) for service in services for path, handler in service.mapping().items()
        }

    async def stop(self, *, grace_secs: float) -> None:
        """Refuse new calls, end streams with UNAVAILABLE at once, and other calls when they take longer than the grace.

        A call that was begun, an edit say, is so finished and answered.
        """
        self.stopping = True
        running = dict(self._running)
        for task, streams in running.items():
            if streams:
                task.cancel()
        if running:
            _, late = await asyncio.wait(running, timeout=grace_secs)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=grace_secs)

    def _guarded(self, handler: Handler, path: str) -> Handler:
        async def run(stream: Stream[object, object]) -> None:
            assert isinstance(stream, Call)
            await self._run(handler, stream, path)

        return handler._replace(func=run)

    async def _run(self, handler: Handler, call: Call, path: str) -> None:
        request_id = request_id_of(call.metadata.get(REQUEST_ID, ""))
        call.initial_metadata[REQUEST_ID] = request_id
        with (
            working_for(request_id),
            traces.span(path[1:], kind="server", parent=call.metadata, transport=call.transport),
        ):
            await self._counted(handler, call, path)

    async def _counted(self, handler: Handler, call: Call, path: str) -> None:
        started = time.perf_counter()
        status, said = "CANCELLED", ""
        self._metrics.calls_running.inc()
        try:
            await self._admitted(handler, call, path)
            status = "OK"
        except WeightsLabError as error:
            status, said = error.status.name, f": {error}"
            raise failure(error.status, error.message, request_id=current_request_id()) from error
        except GRPCError as error:
            status = error.status.name
            raise
        finally:
            secs = time.perf_counter() - started
            self._metrics.calls_running.dec()
            self._metrics.calls.labels(path, call.transport, status).inc()
            if not handler.cardinality.server_streaming:
                self._metrics.call_seconds.labels(path, call.transport).observe(secs)
            log.debug(
                "%s %s%s",
                path,
                status,
                said,
                extra={"peer": call.peer, "transport": call.transport, "ms": round(secs * 1000, 1)},
            )

    async def _admitted(self, handler: Handler, call: Call, path: str) -> None:
        """Run the handler; every fault leaves as a WeightsLabError, CallerGone or a cancellation by the caller."""
        if self.stopping:
            raise Unavailable(STOPPING)
        if len(self._running) >= self._max_calls:
            raise ResourceExhausted(f"{self._max_calls} calls run already, which is the limit; try again later")
        role = authorize(path, call.metadata.get("authorization", ""), self._doors, host=host_of(call.peer))
        enter_call(CallContext(role=role, deadline=call.deadline, from_web=call.from_web))
        task = asyncio.current_task()
        assert task is not None
        self._running[task] = handler.cardinality.server_streaming
        try:
            await _within_deadline(handler, call, path)
        except asyncio.CancelledError:
            if not self.stopping:
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
            log.exception("fault in %s", path)
            raise Internal(
                f"a fault of the gateway; its log has the details under request id {current_request_id()}"
            ) from error
        finally:
            del self._running[task]


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
