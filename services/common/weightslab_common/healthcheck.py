"""`python -m weightslab_common.healthcheck URL`: exit status 0 when it answers 200, for containers without curl."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request

TIMEOUT_SECS = 4.0


def main(arguments: list[str]) -> int:
    """Returns the exit status; says on standard error what was answered instead."""
    if len(arguments) != 1 or not arguments[0].startswith("http://"):
        sys.stderr.write("usage: python -m weightslab_common.healthcheck http://host:port/path\n")
        return 2
    try:
        # Only the scheme above gets here, and no proxy of the environment may answer in our place.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(arguments[0], timeout=TIMEOUT_SECS):
            return 0
    except (urllib.error.URLError, OSError) as error:
        sys.stderr.write(f"{arguments[0]}: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
