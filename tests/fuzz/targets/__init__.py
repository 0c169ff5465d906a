"""One module per target: `seeds()` gives inputs to begin with, `attack(data)` may raise nothing at all.

An attack catches the errors that its subject promises; whatever else comes out is a finding.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FuzzTarget:
    """`attack` raises nothing, whatever it is given; `seeds` are inputs from which a fuzzer begins."""

    name: str
    attack: Callable[[bytes], None]
    seeds: list[bytes]


def names() -> list[str]:
    """The targets there are, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load(name: str) -> FuzzTarget:
    """A target by its name."""
    module = importlib.import_module(f"{__name__}.{name}")
    return FuzzTarget(name, module.attack, module.seeds())
