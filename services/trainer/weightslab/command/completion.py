"""`weightslab completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command(short_help="Print a completion script.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the script that completes `weightslab` in a shell.

    \b
    Examples
      eval "$(weightslab completion bash)"
      eval "$(weightslab completion zsh)"
      weightslab completion fish | source
    """
    from weightslab.command import cli

    kind = get_completion_class(shell)
    assert kind, shell
    click.echo(kind(cli, {}, "weightslab", "_WEIGHTSLAB_COMPLETE").source())
