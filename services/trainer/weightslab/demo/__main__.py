"""`python -m weightslab.demo`: the digits run as a part of a studio, with a log like that of the other services."""

from __future__ import annotations

import contextlib

from weightslab_common import logs
from weightslab_common.settings import ServiceSettings, load

from weightslab.demo import digits

if __name__ == "__main__":
    settings = load(ServiceSettings)
    logs.configure("trainer", level=settings.log_level, format=settings.log_format)
    with contextlib.suppress(KeyboardInterrupt):
        digits.main()
