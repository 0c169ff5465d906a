"""`python -m weightslab.studio`: a studio without a terminal, for a training process; its log goes to a file."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click
from weightslab_common.errors import WeightsLabError
from weightslab_common.settings import load

from weightslab.studio.output import Output
from weightslab.studio.runfile import run_folder
from weightslab.studio.session import Reporter, run
from weightslab.studio.settings import StudioSettings


@click.command()
@click.option("--data-dir", type=click.Path(path_type=Path), help="Folder for everything that is kept on disk.")
@click.option("--while-attached", is_flag=True, help="End when no training process is attached any more.")
def main(data_dir: Path | None, while_attached: bool) -> None:
    """Run the studio until told to stop."""
    settings = load(StudioSettings, data_dir=data_dir)
    output = Output(
        level=settings.log_level, format="json", stream=None, file=run_folder(settings.data_dir) / "studio.log"
    )
    reporter = Reporter(
        starting=lambda plan: None,
        service_ready=lambda child, seconds: output.say("INFO", f"{child.service.name} is ready"),
        waiting=lambda: None,
        ready=lambda plan, seen: output.say("INFO", "ready", page=plan.page_url),
    )
    try:
        asyncio.run(run(settings, output=output, reporter=reporter, while_attached=while_attached))
    except WeightsLabError as error:
        sys.exit(error.message)
    finally:
        output.close()


if __name__ == "__main__":
    main()
