"""One studio from its start to its end: what `weightslab up`, `weightslab demo` and an embedded studio run."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from nats.aio.msg import Msg
from weightslab_common.bus import Bus
from weightslab_common.bus_tls import told_context
from weightslab_common.errors import FailedPrecondition, Unavailable
from weightslab_common.messages import parsed
from weightslab_common.subjects import LIVE, subject
from weightslab_common.tokens import Role, Tokens
from weightslab_proto.weightslab.bus.v1 import LiveUpdate

from weightslab.studio import development, hold, ports, runfile
from weightslab.studio.child import Child
from weightslab.studio.output import Output
from weightslab.studio.plan import Plan, make
from weightslab.studio.settings import StudioSettings, port_uses
from weightslab.studio.supervisor import Supervisor, supervised

FIRST_CURVE_SECS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reporter:
    """How a studio tells people of itself."""

    starting: Callable[[Plan], None]
    service_ready: Callable[[Child, float], None]
    # Everything answers; the first curve is waited for.
    waiting: Callable[[], None]
    # Whether the first curve has been seen; true when there was no run to wait for.
    ready: Callable[[Plan, bool], None]


async def run(
    settings: StudioSettings,
    *,
    output: Output,
    reporter: Reporter,
    trainer: list[str] | None = None,
    while_attached: bool = False,
    develop: bool = False,
) -> None:
    """Run a studio until a signal, or, with `while_attached`, until no training process is attached to it.

    With `develop`, page and services follow their sources.

    Raises FailedPrecondition: a port is busy, another studio owns the folder, a service cannot get ready.
    """
    stopping = _stop_signals()
    with runfile.owned(settings.data_dir) as previous:
        for name in runfile.end_leftovers(previous):
            output.say("WARNING", f"ended a {name} that a killed studio had left running")
        ports.check(port_uses(settings, console=trainer is not None))
        plan = make(settings, previous=previous, trainer=trainer)
        plan = dataclasses.replace(plan, ends_with_runs=while_attached)
        if develop:
            plan = development.developed(plan, settings)
        reporter.starting(plan)
        async with supervised(plan, settings=settings, output=output) as supervisor:
            ends: list[Awaitable[object]] = [stopping.wait()]
            if while_attached:
                ends.append(hold.abandoned(settings.data_dir))
            if develop:
                ends.append(development.keep_current(supervisor.children, development.sources(), output=output))
            await _first_of(_serve(supervisor, reporter=reporter, wait_for_curve=trainer is not None), *ends)


async def _serve(supervisor: Supervisor, *, reporter: Reporter, wait_for_curve: bool) -> None:
    await supervisor.ready(reporter.service_ready)
    plan, seen = supervisor.plan, True
    if wait_for_curve:
        reporter.waiting()
        seen = await first_curve(plan.nats_url, plan.nats_token)
    reporter.ready(plan, seen)
    raise FailedPrecondition(await supervisor.failed())


async def _first_of(*endings: Awaitable[object]) -> None:
    """Wait for the first of `endings`, cancel the others; raise what the first one raises."""
    tasks = [asyncio.ensure_future(ending) for ending in endings]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def first_curve(nats_url: str, nats_token: str | None, *, timeout_secs: float = FIRST_CURVE_SECS) -> bool:
    """Wait until a ledger tells of the first points of any curve; False when none comes in time."""
    seen = asyncio.Event()

    async def received(message: Msg) -> None:
        if parsed(LiveUpdate, message.data).curves:
            seen.set()

    with contextlib.suppress(TimeoutError, Unavailable):
        async with asyncio.timeout(timeout_secs):
            bus = await Bus.connect(nats_url, name="studio", token=nats_token, tls=told_context())
            try:
                await bus.client.subscribe(subject("*", LIVE), cb=received)
                await seen.wait()
            finally:
                await bus.close()
    return seen.is_set()


def login_url(plan: Plan, *, role: Role = Role.EDITOR) -> str:
    """The address of the page with a one-time login."""
    return link(page_url=plan.page_url, token=plan.token, role=role)


def link(*, page_url: str, token: str, role: Role) -> str:
    return f"{page_url}/#login={Tokens(editor_token=token).login(role)}"


def _stop_signals() -> asyncio.Event:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stopping.set)
    return stopping
