"""`python -m weightslab.backend.cli serve|client`: the console as a server of its own, and its client."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click
from weightslab_common import logs, service
from weightslab_common.errors import WeightsLabError
from weightslab_common.settings import load

from weightslab.command.options import Port
from weightslab.console.client import connected
from weightslab.console.settings import ConsoleSettings
from weightslab.console.standalone import announced
from weightslab.console.terminal import talk

_host = click.option("--host", help="Address of the console.  [CLI_HOST; localhost]")
_port = click.option("--port", type=Port(least=0), metavar="PORT", help="Its port.  [CLI_PORT; 60000]")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """The developer console of WeightsLab: one line in, one JSON line out, over TCP."""


@cli.command()
@_host
@_port
@click.option("--experiment", help="The experiment that commands are for.  [WL_EXPERIMENT; the only one there is]")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Folder of the studio.  [WL_DATA_DIR; .weightslab]")
def serve(host: str | None, port: int | None, experiment: str | None, data_dir: Path | None) -> None:
    """Serve the console for any experiment on the bus, until Ctrl-C. Port 0 takes a free one."""
    settings = load(ConsoleSettings, host=host, port=port, experiment=experiment, data_dir=data_dir)
    logs.configure("console", level=settings.log_level, format=settings.log_format)
    service.run(lambda: announced(settings), stop_secs=settings.stop_secs)


@cli.command()
@_host
@_port
@click.option("--json", "as_json", is_flag=True, help="Print replies as they come, one line of JSON each.")
@click.option("-c", "--command", "lines", multiple=True, help="Carry out a command and end; may be repeated.")
def client(host: str | None, port: int | None, as_json: bool, lines: tuple[str, ...]) -> None:
    """Talk to a console: at a terminal with history and completion, from a pipe line by line.

    Exit status: 0 when every command was carried out, 1 when one was not or no console answers, 2 for wrong usage.
    """
    settings = load(ConsoleSettings, host=host, port=port)

    async def run() -> int:
        async with connected(settings.host, settings.port) as connection:
            return await talk(connection, lines=lines or None, as_json=as_json)

    sys.exit(asyncio.run(run()))


def main() -> None:
    """Run the command; errors are one sentence on stderr."""
    try:
        cli(prog_name="python -m weightslab.backend.cli")
    except WeightsLabError as error:
        click.echo(f"console: {error.message}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
