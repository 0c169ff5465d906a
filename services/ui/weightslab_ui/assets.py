"""The built page, read once into memory: what is not in it cannot be asked for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from weightslab_common.errors import FailedPrecondition

PAGE = Path(__file__).parent / "page"

_MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".json": "application/json",
    ".map": "application/json",
    ".png": "image/png",
    ".woff2": "font/woff2",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file of the page. `compressed` is its gzip form, empty when there is none."""

    body: bytes
    compressed: bytes
    media_type: str
    etag: str
    # The name carries a hash of the content, so that the content under this name never changes.
    immutable: bool


def load(folder: Path = PAGE) -> dict[str, Asset]:
    """All files of the page by their URL path; `/` is the page itself.

    Raises FailedPrecondition when it is not built.
    """
    if not (folder / "index.html").is_file():
        raise FailedPrecondition(
            "the page is not built: run `make page` (or `npm ci && npm run build` in services/ui/web), then start again"
        )
    assets = {
        f"/{path.relative_to(folder).as_posix()}": _read(path, folder)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix in _MEDIA_TYPES
    }
    return {**assets, "/": assets["/index.html"]}


def _read(path: Path, folder: Path) -> Asset:
    body = path.read_bytes()
    compressed = path.with_name(path.name + ".gz")
    return Asset(
        body=body,
        compressed=compressed.read_bytes() if compressed.is_file() else b"",
        media_type=_MEDIA_TYPES[path.suffix],
        etag=f'"{hashlib.sha256(body).hexdigest()[:24]}"',
        immutable=path.relative_to(folder).parts[0] == "assets",
    )
