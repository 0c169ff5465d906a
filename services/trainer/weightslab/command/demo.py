"""`weightslab demo`."""

from __future__ import annotations

import sys
from typing import Any

import click

from weightslab.command import options


@click.command(short_help="Start the studio and a training run.")
@options.studio
def command(**flags: Any) -> None:
    """Start the studio and a training run on real data: handwritten digits, a few of them labelled wrongly on purpose.

    Sort the grid by loss to find them, tag them, discard them, and see the run go on without them.

    \b
    Example
      weightslab demo --no-browser
    """
    from weightslab.command.studio import run_in_foreground

    run_in_foreground(trainer=[sys.executable, "-m", "weightslab.demo"], **flags)
