"""`weightslab export`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from weightslab.command import options

WHAT = ("curves", "samples", "tags", "edits")


@click.command(short_help="Write curves, samples, tags or edits to a file.")
@click.argument("what", type=click.Choice(WHAT))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="The file; stdout when not given."
)
@options.form
@click.option("--filter", "filter", default="", help="For samples and tags: only those that this query matches.")
@click.option("--experiment", help="The experiment.  [WL_EXPERIMENT; the only one there is]")
@options.data_dir
def command(
    what: str, output: Path | None, form: str | None, filter: str, experiment: str | None, data_dir: Path | None
) -> None:
    """Write what is known of an experiment: every raw point of its curves, its samples with all columns, its tags, or
    its edit log. Needs the studio, not the training run.

    Rows are written as they come, so that a large experiment needs little memory; a file is replaced at the end, whole.
    Parquet needs the extra `parquet`.

    \b
    Examples
      weightslab export curves -o curves.csv
      weightslab export samples --filter 'tag("hard")' -o hard.json
      weightslab export samples -o samples.parquet
    """
    import asyncio

    from weightslab.command.exchange import opened
    from weightslab.command.formats import replaced, write_table
    from weightslab.command.tables import table

    if filter and what not in ("samples", "tags"):
        raise click.UsageError(f"--filter is for samples and tags, not for {what}")
    chosen = options.form_of(form, output)
    stdout = sys.stdout.buffer
    if output is None and chosen == "parquet" and stdout.isatty():
        raise click.UsageError("Parquet is no text: name a file with --output")

    async def run() -> int:
        async with opened(experiment=experiment, data_dir=data_dir) as found:
            rows = await table(found, what, filter=filter)
            if output is None:
                return await write_table(rows, stdout, form=chosen)
            with replaced(output) as file:
                return await write_table(rows, file, form=chosen)

    count = asyncio.run(run())
    if output:
        click.echo(f"{what} in {output}: {count:,}", err=True)
