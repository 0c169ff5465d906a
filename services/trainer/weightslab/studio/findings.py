"""What a doctor has found of a part."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from weightslab_common import __version__


class Health(StrEnum):
    """How a part is."""

    OK = "ok"
    # Works, or is not needed; worth knowing.
    NOTE = "note"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of one part. `advice`: what to do, when there is something."""

    part: str
    health: Health
    detail: str
    advice: str = ""


def well(part: str, detail: str, *, version: str) -> Finding:
    """A part of ours that answers; worth knowing when it is of another version than this command."""
    if version == __version__:
        return Finding(part, Health.OK, f"{detail}, version {version}")
    return Finding(
        part,
        Health.NOTE,
        f"{detail}, version {version or 'unknown'}",
        f"this command is version {__version__}: install the same version everywhere",
    )
