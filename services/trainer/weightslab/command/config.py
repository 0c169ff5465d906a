"""`weightslab config`."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path

import click

from weightslab.command import options


@click.command(short_help="Show the settings in effect.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--markdown", "as_markdown", is_flag=True, help="The defaults, as the table of the documentation.")
@click.option(
    "--env",
    is_flag=True,
    help="Print what a training run needs to find the running studio. Holds a secret.",
)
@options.data_dir
def command(as_json: bool, as_markdown: bool, env: bool, data_dir: Path | None) -> None:
    """Show every setting: its value, where that comes from, and who reads it. Secrets are hidden.

    A flag wins over the environment, that over a file `.env` in the present folder, that over the default.

    \b
    Examples
      weightslab config
      eval "$(weightslab config --env)" && python train.py
    """
    if env:
        _print_environment(data_dir)
        return
    import orjson

    from weightslab.command.settings_table import markdown, table

    if as_markdown:
        click.echo(markdown())
        return
    settings = table(data_dir=data_dir)
    if as_json:
        click.echo(orjson.dumps([dataclasses.asdict(setting) for setting in settings], option=orjson.OPT_INDENT_2))
        return
    width = max(len(setting.variable) for setting in settings)
    for setting in settings:
        value = click.style(setting.value, bold=setting.source != "default")
        click.echo(f"{click.style(setting.variable.ljust(width), fg='cyan')}  {value}  ({setting.source})")
        click.echo(f"{'':{width}}  {setting.description} [{', '.join(setting.parts)}]")


def _print_environment(data_dir: Path | None) -> None:
    from weightslab_common.settings import load

    from weightslab.console.settings import ConsoleSettings
    from weightslab.console.standalone import bus_address

    settings = load(ConsoleSettings, data_dir=data_dir)
    url, token = bus_address(settings)
    click.echo(f"export WL_NATS_URL={shlex.quote(url)}")
    if token:
        click.echo(f"export WL_NATS_TOKEN={shlex.quote(token)}")
    click.echo(f"export WL_DATA_DIR={shlex.quote(str(settings.data_dir.resolve()))}")
