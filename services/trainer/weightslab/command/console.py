"""`weightslab console`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from weightslab.command import options


@click.command(short_help="Talk to a run.")
@click.option("--experiment", help="The experiment that commands are for.  [WL_EXPERIMENT; the only one there is]")
@click.option(
    "-c", "--command", "lines", multiple=True, metavar="LINE", help="Carry out a command and end; repeatable."
)
@click.option("--json", "as_json", is_flag=True, help="Print replies as they come, one line of JSON each.")
@click.option("--host", help="Talk to the console at this address instead of attaching through the bus.")
@click.option("--port", type=options.Port(), metavar="PORT", help="Its port, with --host.")
@options.data_dir
def command(
    experiment: str | None,
    lines: tuple[str, ...],
    as_json: bool,
    host: str | None,
    port: int | None,
    data_dir: Path | None,
) -> None:
    """Talk to a run: its state, its samples, its hyperparameters. `help` lists the commands.

    Attaches through the bus to an experiment of the studio in the data folder, or to the bus in WL_NATS_URL. At a
    terminal there are history and completion; from a pipe, lines are carried out one after the other.

    Exit status: 0 when every command was carried out, 1 when one was not.

    \b
    Examples
      weightslab console
      weightslab console -c "discard 17 --loader train" --json
      echo status | weightslab console --json
    """
    import asyncio

    from weightslab_common.settings import load

    from weightslab.console.client import connected
    from weightslab.console.settings import ConsoleSettings
    from weightslab.console.standalone import attached
    from weightslab.console.terminal import talk

    settings = load(ConsoleSettings, experiment=experiment, data_dir=data_dir)

    async def run() -> int:
        if host or port:
            async with connected(host or settings.host, port or settings.port) as client:
                return await talk(client, lines=lines or None, as_json=as_json)
        async with (
            attached(settings, host="127.0.0.1", port=0) as own_port,
            connected("127.0.0.1", own_port) as client,
        ):
            return await talk(client, lines=lines or None, as_json=as_json)

    sys.exit(asyncio.run(run()))
