"""Find a Chromium for the browser tests; as a program, install one where there is none.

python tools/chromium.py
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ADVICE = (
    "The browser tests need Chromium and found none. Install it by your system's package manager "
    "(Debian, Ubuntu: `apt-get install chromium`; macOS: `brew install --cask chromium`) "
    "or by `.venv/bin/playwright install chromium`, or set CHROMIUM to its path."
)


def find() -> str | None:
    """The path of a Chromium: CHROMIUM, one on PATH, or the one that Playwright has installed."""
    if chosen := os.environ.get("CHROMIUM"):
        return chosen
    for name in _NAMES:
        if path := shutil.which(name):
            return path
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).exists() else None


def _install() -> None:
    if shutil.which("apt-get") and os.geteuid() == 0:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for arguments in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", "chromium"]):
            if subprocess.run(["apt-get", *arguments], env=environment, stdout=subprocess.DEVNULL).returncode:
                break
    if find() is None:
        subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"])


def main() -> int:
    if find() is None:
        print("Installing Chromium for the browser tests …", flush=True)
        _install()
    if find() is None:
        print(ADVICE, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
