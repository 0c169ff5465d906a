"""Checks of what was asked, shared by the handlers."""

from __future__ import annotations

from collections.abc import Sequence

from weightslab_common.errors import InvalidArgument, NotFound

from weightslab_ledger.catalog import Catalog


def within(name: str, value: int, low: int, high: int, default: int = 0) -> int:
    """`value`, or `default` for 0. Raises InvalidArgument unless it lies in [low, high]."""
    value = value or default
    if not low <= value <= high:
        raise InvalidArgument(f"{name} must be {low} to {high:,}, not {value}")
    return value


def find_rows(catalog: Catalog, samples: Sequence[tuple[str, str]]) -> list[int]:
    """The row of each (split, uid). Raises NotFound that names what is unknown."""
    rows = [catalog.find(split, uid) for split, uid in samples]
    unknown = [f"{split}/{uid}" for row, (split, uid) in zip(rows, samples, strict=True) if row is None]
    if unknown:
        listed = ", ".join(repr(name) for name in unknown[:10]) + (", …" if len(unknown) > 10 else "")
        number = "1 sample does not" if len(unknown) == 1 else f"{len(unknown)} samples do not"
        raise NotFound(f"{number} exist, nothing was changed: {listed}")
    return [row for row in rows if row is not None]
