"""The pages make a site without a broken link, a page that nothing leads to, or a name that does not exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_pages_make_a_site_that_fetches_nothing_from_elsewhere(tmp_path: Path) -> None:
    site = tmp_path / "site"
    built = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", ROOT / "docs", site],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    for page in site.rglob("*.html"):
        fetched = re.findall(
            r'<(?:script|img|link rel="(?:stylesheet|icon)")[^>]*(?:src|href)="(https?:[^"]+)"', page.read_text()
        )
        assert not fetched, f"{page.name} fetches {fetched}"


def test_every_public_name_is_on_a_page() -> None:
    import weightslab

    pages = "\n".join(page.read_text() for page in (ROOT / "docs").glob("*.md"))
    missing = [name for name in weightslab.__all__ if not re.search(rf"\b(?:wl|weightslab)\.{name}\b", pages)]
    assert missing == ["__version__"], missing
