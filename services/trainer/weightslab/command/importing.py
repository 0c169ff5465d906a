"""`weightslab tags`."""

from __future__ import annotations

from pathlib import Path

import click

from weightslab.command import options


@click.command(short_help="Put tags from a file on samples.")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--experiment", help="The experiment.  [WL_EXPERIMENT; the only one there is]")
@options.data_dir
def command(file: Path, experiment: str | None, data_dir: Path | None) -> None:
    """Put tags on samples, as a CSV file with the columns split, uid and tag says.

    Samples and tags are checked before anything is changed: an unknown sample is named, and nothing is done. One edit
    is made per tag, and each can be taken back by undo.

    \b
    Example
      weightslab export tags -o tags.csv && weightslab tags tags.csv
    """
    import asyncio

    from weightslab.command import exchange

    edits = asyncio.run(exchange.put_tags(exchange.read_tags(file), experiment=experiment, data_dir=data_dir))
    for tag, edit in edits:
        click.echo(f"{tag}: {edit.changed_count:,} of {edit.target_count:,} samples changed, revision {edit.revision}")
