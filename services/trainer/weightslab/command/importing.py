"""`weightslab import`."""

from __future__ import annotations

from pathlib import Path

import click

from weightslab.command import options


@click.command(short_help="Put tags from a file on samples.")
@click.argument("what", type=click.Choice(["tags"]))
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@options.form
@click.option("--experiment", help="The experiment.  [WL_EXPERIMENT; the only one there is]")
@options.data_dir
def command(what: str, file: Path, form: str | None, experiment: str | None, data_dir: Path | None) -> None:
    """Put tags on samples, as a file says: CSV or Parquet with the columns split, uid and tag, or JSON with a list of
    such objects; what `weightslab export tags` writes.

    Samples and tags are checked before anything is changed: an unknown sample is named, and nothing is done. One edit
    is made per tag, and each can be taken back by undo. Tags that a sample has already stay.

    \b
    Examples
      weightslab export tags -o tags.csv && weightslab import tags tags.csv
      weightslab import tags reviewed.parquet --experiment digits
    """
    import asyncio

    from weightslab.command import exchange, tag_files

    tags = tag_files.read_tags(file, form=options.form_of(form, file))
    edits = asyncio.run(exchange.put_tags(tags, experiment=experiment, data_dir=data_dir))
    for tag, edit in edits:
        click.echo(f"{tag}: {edit.changed_count:,} of {edit.target_count:,} samples changed, revision {edit.revision}")
