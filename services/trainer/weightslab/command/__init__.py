"""The `weightslab` command. Each subcommand is a module of its own and imported only when it is used."""

from __future__ import annotations

import importlib
import sys

import click
from weightslab_common import __version__
from weightslab_common.errors import WeightsLabError

# Name → what it does, in the order of the help.
# Module `weightslab.command.<name>` holds `command`, or that in _MODULES.
COMMANDS = {
    "demo": "Start the studio and a training run on real data.",
    "up": "Start the studio: bus, store, ledger, gateway and page.",
    "token": "Print the access token, or a link that logs in.",
    "doctor": "Say which parts answer, and what to do about those that do not.",
    "console": "Talk to a run from the terminal.",
    "export": "Write curves, samples, tags or the edit log to a file.",
    "import": "Put tags from a file on samples.",
    "fsck": "Check the edit log against the store.",
    "config": "Show the settings in effect.",
    "completion": "Print the completion script of a shell.",
}

# Python has its own use for these names.
_MODULES = {"import": "importing"}

EPILOG = """\b
Exit status
  0  all is well
  1  it could not be done; the message says why
  2  wrong usage, or a setting that cannot be used
"""


class LazyGroup(click.Group):
    """A group that imports a subcommand when it is called for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"weightslab.command.{_MODULES.get(cmd_name, cmd_name)}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # Without importing all of them.
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="weightslab")
def cli() -> None:
    """See which samples move the loss while a PyTorch model trains, and act on them at once.

    `weightslab demo` shows it; `weightslab up` runs the studio for training runs of your own. Settings are read from
    flags, then the environment, then a file `.env`; `weightslab config` shows them.
    """


def main() -> None:
    """Run the command; errors are one sentence on stderr."""
    try:
        cli(prog_name="weightslab")
    except WeightsLabError as error:
        for line in error.message.splitlines():
            click.echo(f"weightslab: {line}", err=True)
        sys.exit(1)
