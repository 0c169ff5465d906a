"""`python -m weightslab_common.secret_files FOLDER`: the secrets of a new deployment, one file each.

A value that is in the environment is taken, any other is made; what is there already stays. The files are what
WL_SECRETS_DIR points the services at, and their owner alone can read them.
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

TOKENS = ("WL_TOKEN", "WL_VIEWER_TOKEN", "WL_NATS_TOKEN", "WL_REDIS_PASSWORD")
# Where services find the store, unless WL_REDIS_ADDRESS says otherwise.
STORE_ADDRESS = "redis:6379"


def make(folder: Path) -> list[str]:
    """Write what is missing into `folder` and return the names of what was written. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    written = [name for name in TOKENS if _write_new(folder / name, os.environ.get(name) or secrets.token_urlsafe(32))]
    password = (folder / "WL_REDIS_PASSWORD").read_text().strip()
    address = os.environ.get("WL_REDIS_ADDRESS") or STORE_ADDRESS
    if _write_new(folder / "WL_REDIS_URL", f"redis://:{password}@{address}"):
        written.append("WL_REDIS_URL")
    return written


def _write_new(path: Path, value: str) -> bool:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w") as file:
        file.write(value + "\n")
    return True


def main(arguments: list[str]) -> int:
    """Returns the exit status; names what was made, never its value."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m weightslab_common.secret_files FOLDER\n")
        return 2
    try:
        written = make(Path(arguments[0]))
    except OSError as error:
        sys.stderr.write(f"the secrets cannot be kept in {arguments[0]}: {error.strerror}\n")
        return 1
    sys.stdout.write(f"made {', '.join(written)}\n" if written else "all secrets were there\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
