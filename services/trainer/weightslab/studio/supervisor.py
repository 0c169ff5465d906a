"""Starts the services of a plan, keeps them running, and stops them in order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from typing import Any

from weightslab_common import __version__
from weightslab_common.errors import FailedPrecondition

from weightslab.studio import runfile
from weightslab.studio.child import Child
from weightslab.studio.output import Output
from weightslab.studio.plan import Plan
from weightslab.studio.settings import StudioSettings

READY_SECS = 120.0
_RUN_FILE_SECS = 0.5


class Supervisor:
    """Owns the processes of one studio. Use `supervised`."""

    def __init__(self, plan: Plan, *, settings: StudioSettings, output: Output) -> None:
        self.plan = plan
        self._settings = settings
        self._output = output
        self._state = "starting"
        self.children = [Child(service, environment=plan.environment, output=output) for service in plan.services]
        self._keepers: list[asyncio.Task[str]] = []

    def start(self) -> None:
        """Start all at once: each waits by itself for those it needs."""
        for child in self.children:
            child.start()
            self._keepers.append(asyncio.create_task(child.keep(), name=f"keep-{child.service.name}"))

    async def failed(self) -> str:
        """Wait until a service cannot go on; return the sentence that says why."""
        waiting = set(self._keepers)
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for keeper in done:
                if reason := keeper.result():
                    return reason
        return "no service is left"

    async def ready(self, told: Callable[[Child, float], None]) -> None:
        """Wait until every service answers; `told` hears of each with the seconds it took.

        Raises FailedPrecondition when one of them cannot get ready.
        """
        started = time.monotonic()

        async def wait(child: Child) -> None:
            await child.wait_ready()
            told(child, time.monotonic() - started)

        everything = asyncio.create_task(_all(wait(child) for child in self.children))
        failing = asyncio.create_task(self.failed())
        both: list[asyncio.Task[Any]] = [everything, failing]
        try:
            done, _ = await asyncio.wait(both, timeout=READY_SECS, return_when=asyncio.FIRST_COMPLETED)
            if failing in done:
                raise FailedPrecondition(failing.result())
            if not done:
                slow = ", ".join(child.service.name for child in self.children if not child.ready.is_set())
                raise FailedPrecondition(
                    f"not ready within {READY_SECS:g} s: {slow}; the log in {self.plan.data_dir / 'run'} says more"
                )
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)
        self._state = "ready"
        self.write_run_file()

    async def keep_run_file(self) -> None:
        """Write the run file anew when a process has changed."""
        written: list[runfile.ServiceEntry] = []
        while True:
            present = self._entries()
            if present != written:
                self.write_run_file()
                written = present
            await asyncio.sleep(_RUN_FILE_SECS)

    def write_run_file(self) -> None:
        plan, settings = self.plan, self._settings
        runfile.write(
            plan.data_dir,
            runfile.StudioEntry(
                pid=os.getpid(),
                state=self._state,
                page_url=plan.page_url,
                nats_url=plan.nats_url,
                redis_url=plan.redis_url,
                web_port=settings.web_port,
                admin_port=settings.admin_port,
                grpc_port=settings.grpc_port,
                page_port=settings.page_port,
                version=__version__,
                services=self._entries(),
                ends_with_runs=plan.ends_with_runs,
            ),
        )

    async def stop(self) -> None:
        """Stop in order: who speaks first, the servers they speak to last."""
        self._output.say("INFO", "stopping")
        for stage in sorted({child.service.stage for child in self.children}, reverse=True):
            await _all(child.stop() for child in self.children if child.service.stage == stage)
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        self._state = "stopped"
        self.write_run_file()

    def _entries(self) -> list[runfile.ServiceEntry]:
        return [entry for child in self.children if (entry := child.entry)]


async def _all(waits: Iterable[Coroutine[None, None, None]]) -> None:
    async with asyncio.TaskGroup() as group:
        for waiting in waits:
            group.create_task(waiting)


@contextlib.asynccontextmanager
async def supervised(plan: Plan, *, settings: StudioSettings, output: Output) -> AsyncIterator[Supervisor]:
    """A supervisor whose services run while in this context."""
    supervisor = Supervisor(plan, settings=settings, output=output)
    keeping = asyncio.create_task(supervisor.keep_run_file())
    try:
        supervisor.start()
        yield supervisor
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        await supervisor.stop()
