"""A running studio as a context: started, awaited until every training sample has a loss, stopped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.background import in_thread
from tests.support.main_job import wait_for_values
from tests.support.processes import wait_until
from tests.support.studio import Studio


@contextmanager
def running_studio(folder: Path, *, trainer: list[str] | None = None) -> Iterator[Studio]:
    """Yields the studio, `trainer` being the command to train by instead of the demo's; prints its logs on failure."""
    studio = Studio(folder)
    if trainer is not None:
        studio.processes["trainer"].command = trainer
    try:
        studio.start()
        wait_until(studio.ready, what="the studio is ready", timeout_secs=60)
        in_thread(lambda: wait_for_values(studio))
        yield studio
    except BaseException:
        print(studio.logs())
        raise
    finally:
        studio.stop()
