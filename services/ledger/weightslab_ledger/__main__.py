"""`python -m weightslab_ledger`: run the ledger until it is told to stop."""

from __future__ import annotations

import sys

from weightslab_common import logs, service, traces
from weightslab_common.errors import FailedPrecondition
from weightslab_common.settings import load

from weightslab_ledger.service import open_ledger
from weightslab_ledger.settings import LedgerSettings


def main() -> int:
    """Returns the exit status: 2 when the ledger cannot start as it was told to."""
    settings = load(LedgerSettings)
    logs.configure("ledger", level=settings.log_level, format=settings.log_format)
    try:
        traces.configure("ledger", url=settings.traces_url)
        service.run(lambda: open_ledger(settings), stop_secs=settings.stop_secs)
    except FailedPrecondition as error:
        sys.stderr.write(f"{error}\n")
        return 2
    finally:
        traces.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
