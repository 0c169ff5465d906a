"""The experiment that a command is for, through the bus; and the edits that put tags on its samples."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from weightslab_common.bus import Bus
from weightslab_common.bus_tls import told_context
from weightslab_common.errors import FailedPrecondition
from weightslab_common.settings import load
from weightslab_proto.weightslab.v1 import (
    Edit,
    EditOperation,
    SampleList,
    SampleRef,
    SummarizeSelectionRequest,
    SummarizeSelectionResponse,
    Target,
)

from weightslab.console.experiment import Experiment, known_experiments
from weightslab.console.settings import ConsoleSettings
from weightslab.console.standalone import bus_address


@contextlib.asynccontextmanager
async def opened(*, experiment: str | None, data_dir: Path | None) -> AsyncIterator[Experiment]:
    """The experiment that was named, or the only one. Raises FailedPrecondition, Unavailable."""
    settings = load(ConsoleSettings, experiment=experiment, data_dir=data_dir)
    url, token = bus_address(settings)
    bus = await Bus.connect(url, name="exchange", token=token, tls=told_context(), wait_for_server=False)
    try:
        known = await known_experiments(bus)
        if not settings.experiment and len(known) != 1:
            names = ", ".join(known) or "none"
            raise FailedPrecondition(f"name the experiment with --experiment; there are: {names}")
        yield Experiment(settings.experiment or known[0], bus)
    finally:
        await bus.close()


async def put_tags(
    tags: dict[str, list[SampleRef]], *, experiment: str | None, data_dir: Path | None
) -> list[tuple[str, Edit]]:
    """Make one edit per tag, after every sample was found to exist. Raises what the ledger raises."""
    async with opened(experiment=experiment, data_dir=data_dir) as found:
        for samples in tags.values():
            target = Target(samples=SampleList(samples=samples))
            # Raises for a sample that does not exist, before the first edit is made.
            await found.ledger(
                "summarize_selection",
                SummarizeSelectionRequest(experiment=found.name, target=target),
                SummarizeSelectionResponse,
            )
        return [(tag, await found.edit(EditOperation.ADD_TAG, samples, tag=tag)) for tag, samples in tags.items()]
