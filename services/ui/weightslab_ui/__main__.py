"""python -m weightslab_ui: serve the page of Weights Studio."""

from __future__ import annotations

import sys

from weightslab_common import logs, service, settings
from weightslab_common.errors import FailedPrecondition

from weightslab_ui import assets
from weightslab_ui.service import listen, open_service
from weightslab_ui.settings import UiSettings


def main() -> int:
    chosen = settings.load(UiSettings)
    logs.configure("ui", level=chosen.log_level, format=chosen.log_format)
    try:
        page = assets.load()
        listener = listen(chosen)
    except FailedPrecondition as error:
        sys.stderr.write(f"{error.message}\n")
        return 2
    service.run(lambda: open_service(chosen, page=page, listener=listener), stop_secs=chosen.stop_secs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
