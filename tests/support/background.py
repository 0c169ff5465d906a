"""Asynchronous work from a synchronous test: the browser's API runs a loop of its own on the test's thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from tests.support.studio import Api, Studio

ResultT = TypeVar("ResultT")

# Within the limit of a test: a time-out from outside would leave the browser's loop broken for the tests after it.
TIMEOUT_SECS = 200.0


def in_thread(work: Callable[[], Coroutine[Any, Any, ResultT]]) -> ResultT:
    """Run `work` in a loop of another thread and return its result. Raises TimeoutError when it does not end."""

    async def bounded() -> ResultT:
        async with asyncio.timeout(TIMEOUT_SECS):
            return await work()

    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(lambda: asyncio.run(bounded())).result()


def with_api(studio: Studio, work: Callable[[Api], Coroutine[Any, Any, ResultT]]) -> ResultT:
    """Run `work` with a gRPC client on another thread and return its result."""

    async def main() -> ResultT:
        async with studio.api() as api:
            return await work(api)

    return in_thread(main)
