"""`python -m weightslab_ledger`: run the ledger until it is told to stop."""

from __future__ import annotations

from weightslab_common import logs, service
from weightslab_common.settings import load

from weightslab_ledger.service import open_ledger
from weightslab_ledger.settings import LedgerSettings


def main() -> None:
    settings = load(LedgerSettings)
    logs.configure("ledger", level=settings.log_level, format=settings.log_format)
    service.run(lambda: open_ledger(settings))


if __name__ == "__main__":
    main()
