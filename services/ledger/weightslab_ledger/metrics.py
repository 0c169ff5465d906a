"""What a ledger counts about one experiment."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counts:
    """Counters since the experiment was taken over."""

    messages: int = 0
    # Messages that had been taken in before.
    duplicates: int = 0
    # Messages that made no sense and were left out.
    refused: int = 0
    # Messages left out because what they need did not come in time.
    dropped: int = 0
    points: int = 0
    values: int = 0
