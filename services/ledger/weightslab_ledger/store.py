"""The store: a Redis-protocol server, the names of its keys, and its faults as our errors."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from typing import Any
from urllib.parse import urlsplit

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from weightslab_common.errors import Unavailable

EXPERIMENTS = "wl:experiments"
# Who asks all ledgers waits no longer than a second for the first answer.
PING_SECS = 0.5


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one experiment. The braces put all of them into one hash slot."""

    experiment: str

    def __call__(self, what: str) -> str:
        return f"wl:{{{self.experiment}}}:{what}"

    @property
    def lease(self) -> str:
        return self("lease")

    @property
    def fence(self) -> str:
        return self("fence")


class Store:
    """One connection pool. Every use goes through `reaching`, which names the store when it does not answer."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        # The password stays out of messages.
        self.address = f"{parts.hostname}:{parts.port or 6379}"
        # Its stubs leave open whether answers are text or bytes; ours are bytes.
        # Whether the last attempt to use it came through.
        self.reached = False
        self._hanging_up: set[asyncio.Task[None]] = set()
        self.client: Any = redis.from_url(
            url,
            socket_timeout=5,
            socket_connect_timeout=2,
            # A script that may have been applied must not be sent again behind our back.
            retry=Retry(NoBackoff(), 0),
            health_check_interval=15,
        )

    async def answers(self) -> bool:
        """Whether the server answers at once."""
        try:
            async with asyncio.timeout(PING_SECS):
                with self.reaching() as client:
                    await client.ping()
        except (Unavailable, TimeoutError):
            return False
        return True

    @contextlib.contextmanager
    def reaching(self) -> Iterator[Any]:
        """The client; its faults are raised as Unavailable."""
        try:
            yield self.client
            self.reached = True
        except (RedisError, OSError, TimeoutError) as error:
            self.reached = False
            # The other idle connections led to the same server: each would fail one more request.
            self._hang_up()
            raise Unavailable(
                f"the store (Redis at {self.address}) does not answer: {error}; is it running and reachable?"
            ) from error

    def _hang_up(self) -> None:
        task = asyncio.create_task(self.client.connection_pool.disconnect(inuse_connections=False))
        self._hanging_up.add(task)
        task.add_done_callback(self._hanging_up.discard)

    async def durability_warning(self) -> str:
        """A sentence when the store answers before an edit is on disk; empty when all is well or it does not tell.

        Raises Unavailable.
        """
        try:
            found = await self.client.config_get("append*")
        except ResponseError:
            # Hosted stores often forbid to ask.
            return ""
        except (RedisError, OSError, TimeoutError) as error:
            raise Unavailable(f"the store (Redis at {self.address}) does not answer: {error}") from error
        settings = {_text(name): _text(value) for name, value in found.items()}
        if settings.get("appendonly") == "yes" and settings.get("appendfsync") == "always":
            return ""
        return (
            f"the store at {self.address} answers before an edit is on disk: a crash can lose acknowledged edits; "
            "set `appendonly yes` and `appendfsync always`"
        )

    async def close(self) -> None:
        await self.client.aclose()


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def script_text(name: str) -> str:
    """The text of one of our Lua scripts."""
    return (resources.files("weightslab_ledger") / name).read_text()
