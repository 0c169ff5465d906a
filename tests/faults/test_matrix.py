"""The short form of the matrix of faults: each process and each fault once or twice; `make faults` runs all cells."""

from __future__ import annotations

import random

import pytest

from tests.faults.cells import run_cell
from tests.support.faulty import FaultyStudio

pytestmark = [pytest.mark.timeout(400)]

CELLS = [
    ("nats", "reset"),
    ("store", "half-open"),
    ("ledger", "stop"),
    ("gateway", "kill"),
    ("trainer", "latency"),
    ("media", "bandwidth"),
    ("store", "disk-full"),
]


@pytest.mark.parametrize(("victim", "fault"), CELLS, ids=[f"{fault}-of-{victim}" for victim, fault in CELLS])
async def test_everything_holds_and_comes_back(hurt_studio: FaultyStudio, victim: str, fault: str) -> None:
    report = await run_cell(hurt_studio, victim, fault, secs=1.0, seed=random.randrange(2**32))
    print(report)
    assert report.edits
    assert report.reads
    assert report.points
