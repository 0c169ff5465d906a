"""The whole system against its model: a few short runs, drawn the same each time; `make faults` has long ones."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.faults.whole_system import WholeSystem
from tests.support.faulty import FaultyStudio

# A run of a studio cannot be repeated as it was, so that nothing is gained by making an example smaller.
SHORT = settings(
    max_examples=3,
    stateful_step_count=14,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.timeout(400)
def test_it_does_as_the_model(hurt_studio: FaultyStudio) -> None:
    def machine() -> WholeSystem:
        return WholeSystem(hurt_studio, victims=("nats", "store", "gateway"), max_restarts=1)

    # Hypothesis calls what it is given, and says that it must be a class.
    run_state_machine_as_test(machine, settings=SHORT)  # type: ignore[arg-type]
