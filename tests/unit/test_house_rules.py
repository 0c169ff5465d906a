"""Rules of the house that a linter does not know."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SERVICES = sorted((ROOT / "services").rglob("*.py"))
# Beyond this a file does more than one thing.
MAX_LINES = 600


def _relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_there_is_code_to_check() -> None:
    assert len(SERVICES) > 20


def test_files_stay_small() -> None:
    sources = [
        path
        for pattern in ("*.py", "*.ts", "*.tsx", "*.css")
        for folder in ("services", "tests", "tools", "bench")
        for path in (ROOT / folder).rglob(pattern)
        if "node_modules" not in path.parts and "proto" not in path.parts and "page" not in path.parts
    ]
    long = {_relative(path): lines for path in sources if (lines := len(path.read_text().splitlines())) > MAX_LINES}
    assert not long, long


def test_every_package_tells_that_it_is_typed() -> None:
    packages = [path.parent for path in (ROOT / "services").glob("*/weightslab*/__init__.py")]
    assert len(packages) == 5
    for package in packages:
        assert (package / "py.typed").exists(), package


def test_architecture_names_every_package() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    for package in (ROOT / "services").glob("*/weightslab*/__init__.py"):
        assert package.parent.name in text
