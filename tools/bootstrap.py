"""Make the virtual environment of this checkout and install WeightsLab into it.

    python tools/bootstrap.py demo    what `make demo` needs
    python tools/bootstrap.py dev     what the tests and checks need

Uses the standard library only. Does nothing when what is installed is up to date.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv"
CONSTRAINTS = ROOT / "requirements" / "constraints.txt"
EMBEDDED = ROOT / "requirements" / "embedded.txt"
# What has everything that an extra has.
ENOUGH = {"demo": ("demo", "dev"), "dev": ("dev",)}


def _fingerprint(extra: str) -> str:
    digest = hashlib.sha256(f"{extra} {sys.version}".encode())
    for path in (ROOT / "pyproject.toml", CONSTRAINTS, EMBEDDED):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _stamp(extra: str) -> Path:
    return ENVIRONMENT / f"installed-{extra}"


def _is_installed(extra: str) -> bool:
    return _stamp(extra).exists() and _stamp(extra).read_text() == _fingerprint(extra)


def _pip(*arguments: str) -> None:
    python = ENVIRONMENT / "bin" / "python"
    subprocess.run([str(python), "-m", "pip", "--disable-pip-version-check", *arguments], check=True, cwd=ROOT)


def main() -> int:
    extra = sys.argv[1]
    if sys.version_info < (3, 11):  # noqa: UP036 - this is where an older one is told so
        print(f"WeightsLab needs Python 3.11 or newer, this is {sys.version.split()[0]}; set PYTHON=python3.12, say")
        return 1
    if any(_is_installed(other) for other in ENOUGH[extra]):
        return 0
    # Taken now: what changes while it installs is not installed.
    fingerprint = _fingerprint(extra)
    print(f"Setting up {ENVIRONMENT.name}/ (once; PyTorch is the large part) …", flush=True)
    # pip comes last: without it, making the environment was interrupted.
    if not (ENVIRONMENT / "bin" / "pip").exists():
        venv.create(ENVIRONMENT, with_pip=True)
    print("  1/2 message bus and store, checked against their hashes", flush=True)
    _pip("install", "--quiet", "--require-hashes", "--no-deps", "-r", str(EMBEDDED))
    print("  2/2 WeightsLab and what it needs", flush=True)
    _pip("install", "--progress-bar", "on", "-c", str(CONSTRAINTS), "-e", f".[{extra}]")
    _stamp(extra).write_text(fingerprint)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as error:
        sys.exit(f"installing failed (pip ended with status {error.returncode}); its messages are above")
    except KeyboardInterrupt:
        sys.exit("\ninterrupted; the same command goes on where this one was")
