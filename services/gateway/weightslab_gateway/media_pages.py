"""Asks media workers for images: those that are wanted at the same time travel in one request.

A request costs the bus and both ends more than a small image does. Nothing waits for others to come: what is wanted
while as many requests as there may be are under way goes with the next one.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections import deque
from dataclasses import dataclass, field

from weightslab_common import subjects
from weightslab_common.bus import Bus
from weightslab_common.errors import Internal, Unavailable, WeightsLabError
from weightslab_common.media import Layer, Picture, Reply, replies_of, request_of
from weightslab_common.service import end
from weightslab_proto.weightslab.bus.v1 import GetMediaPageRequest, GetMediaPageResponse

from weightslab_gateway.directory import Directory

TIMEOUT_SECS = 10.0
WORKER_RETRY_SECS = 0.2
# Of one experiment: one is worked on while the last one's images go out. Images that are slow to read are read side by
# side instead, as many at once as a worker reads.
REQUESTS_AT_ONCE, SLOW_REQUESTS_AT_ONCE = 2, 4
SLOW_SECS_PER_IMAGE = 0.01
IMAGES_PER_REQUEST = 32


@dataclass(slots=True)
class _Wanted:
    layer: Layer
    uid: str
    reply: asyncio.Future[Picture]
    # Of who asked: the trace and the request id that the request continues.
    context: contextvars.Context = field(default_factory=contextvars.copy_context)


@dataclass(slots=True)
class _Queue:
    """What is wanted of one experiment; `running` requests of at most `at_once` are under way."""

    wanted: deque[_Wanted] = field(default_factory=deque)
    running: int = 0
    at_once: int = REQUESTS_AT_ONCE


class MediaPages:
    """Gathers what is wanted of each experiment."""

    def __init__(self, bus: Bus, directory: Directory) -> None:
        self._bus = bus
        self._directory = directory
        self._queues: dict[str, _Queue] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def get(self, experiment: str, layer: Layer, uid: str) -> Picture:
        """One image. Raises what the media worker raises, NotFound, Unavailable, DeadlineExceeded."""
        loop = asyncio.get_running_loop()
        queue = self._queues.setdefault(experiment, _Queue())
        wanted = _Wanted(layer, uid, loop.create_future())
        queue.wanted.append(wanted)
        # What others want in this very turn of the loop goes along.
        loop.call_soon(self._send, experiment, queue)
        return await wanted.reply

    async def close(self) -> None:
        """Give up what is under way."""
        await end(self._tasks)

    def _send(self, experiment: str, queue: _Queue) -> None:
        while queue.running < queue.at_once and (page := _take(queue.wanted)):
            queue.running += 1
            task = asyncio.create_task(self._fetch(experiment, queue, page), context=page[0].context)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if not queue.running and self._queues.get(experiment) is queue:
            del self._queues[experiment]

    async def _fetch(self, experiment: str, queue: _Queue, page: list[_Wanted]) -> None:
        started = time.monotonic()
        try:
            request = request_of(page[0].layer, [wanted.uid for wanted in page])
            replies = replies_of(await self._ask(experiment, request), count=len(page))
            queue.wanted.extendleft(reversed(_settle(page, replies)))
            slow = time.monotonic() - started > SLOW_SECS_PER_IMAGE * len(page)
            queue.at_once = SLOW_REQUESTS_AT_ONCE if slow else REQUESTS_AT_ONCE
        except asyncio.CancelledError:
            for wanted in page:
                wanted.reply.cancel()
            raise
        except Exception as error:
            # Whoever wanted one of them handles it.
            for wanted in page:
                if not wanted.reply.done():
                    wanted.reply.set_exception(error)
        finally:
            queue.running -= 1
            self._send(experiment, queue)

    async def _ask(self, experiment: str, request: GetMediaPageRequest) -> GetMediaPageResponse:
        """Ask a media worker; one that is just being started is waited for as long as its trainer is there."""
        end_at = time.monotonic() + TIMEOUT_SECS
        while True:
            try:
                return await self._bus.request(
                    subjects.media(experiment), request, GetMediaPageResponse, timeout_secs=TIMEOUT_SECS, part="trainer"
                )
            except Unavailable:
                await self._directory.require(experiment)
                if not self._directory.trainer_connected(experiment) or time.monotonic() > end_at:
                    raise
            await asyncio.sleep(WORKER_RETRY_SECS)


def _take(wanted: deque[_Wanted]) -> list[_Wanted]:
    """The next that are wanted still of one layer, without those whom nobody waits for any more."""
    page: list[_Wanted] = []
    while wanted and len(page) < IMAGES_PER_REQUEST and (not page or wanted[0].layer == page[0].layer):
        one = wanted.popleft()
        if not one.reply.done():
            page.append(one)
    return page


def _settle(page: list[_Wanted], replies: list[Reply]) -> list[_Wanted]:
    """Hand out what came; returns what was left out. Raises Internal when that is the first, too."""
    if replies[0] is None:
        raise Internal("the media worker left out the first image of a page, too; its log may say more")
    left_out = []
    for wanted, reply in zip(page, replies, strict=True):
        if wanted.reply.done():
            continue
        if isinstance(reply, Picture):
            wanted.reply.set_result(reply)
        elif isinstance(reply, WeightsLabError):
            wanted.reply.set_exception(reply)
        else:
            left_out.append(wanted)
    return left_out
