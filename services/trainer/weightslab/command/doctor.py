"""`weightslab doctor`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from weightslab.command import options


@click.command(short_help="Say which parts answer.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, one object per part.")
@options.data_dir
def command(as_json: bool, data_dir: Path | None) -> None:
    """Look at every part and say in one screen which of them answer, and what to do about those that do not.

    Exit status: 0 when every part that a studio needs answers, 1 when one is missing.

    \b
    Examples
      weightslab doctor
      weightslab doctor --json | jq '.[] | select(.health == "missing")'
    """
    import asyncio
    import dataclasses
    import platform

    import orjson
    from weightslab_common import __version__
    from weightslab_common.settings import load

    from weightslab.studio.checkup import examine
    from weightslab.studio.findings import Health
    from weightslab.studio.settings import StudioSettings

    findings = asyncio.run(examine(load(StudioSettings, data_dir=data_dir)))
    if as_json:
        click.echo(orjson.dumps([dataclasses.asdict(finding) for finding in findings], option=orjson.OPT_INDENT_2))
    else:
        click.echo(f"weightslab {__version__}, Python {platform.python_version()}, {platform.platform(terse=True)}")
        colours = {Health.OK: "green", Health.NOTE: "yellow", Health.MISSING: "red"}
        for finding in findings:
            mark = click.style(f"{finding.health.value:<8}", fg=colours[finding.health])
            click.echo(f"{mark}{finding.part:<9}{finding.detail}")
            if finding.advice:
                click.echo(f"{'':17}→ {finding.advice}")
    sys.exit(1 if any(finding.health is Health.MISSING for finding in findings) else 0)
