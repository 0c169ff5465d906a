"""`weightslab fsck`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click

from weightslab.command import options


@click.command(short_help="Check the edit log against the store.")
@click.argument("experiments", nargs=-1, metavar="[EXPERIMENT]...")
@click.option("--json", "as_json", is_flag=True, help="As JSON: the differences of each experiment.")
@options.data_dir
def command(experiments: tuple[str, ...], as_json: bool, data_dir: Path | None) -> None:
    """Add up the edit log of each experiment, or of all, and compare the sum with what the store holds: which samples
    are discarded, and which have which tag. Changes nothing. Needs the studio of the data folder, or WL_REDIS_URL.

    Exit status: 0 when they agree, 1 when they differ or the store cannot be read.

    \b
    Examples
      weightslab fsck
      weightslab fsck digits --json
    """
    from weightslab_common.errors import FailedPrecondition
    from weightslab_common.settings import load

    from weightslab.studio import runfile
    from weightslab.studio.settings import StudioSettings

    settings = load(StudioSettings, data_dir=data_dir)
    entry = runfile.running(settings.data_dir)
    redis_url = settings.redis_url or (entry.redis_url if entry else None)
    if redis_url is None:
        raise FailedPrecondition(
            f"no studio runs in {settings.data_dir} and WL_REDIS_URL is not set: start one with `weightslab up`, name "
            "its folder with --data-dir, or set WL_REDIS_URL"
        )
    # A process of its own: the ledger is a service, and may be installed without its needs.
    result = subprocess.run(
        [sys.executable, "-m", "weightslab_ledger.fsck", *(["--json"] if as_json else []), "--", *experiments],
        env={**os.environ, "WL_REDIS_URL": redis_url, "WL_DATA_DIR": str(settings.data_dir.resolve())},
        check=False,
    )
    sys.exit(1 if result.returncode else 0)
