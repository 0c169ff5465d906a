"""The plan of an epoch: nothing lost, nothing doubled, nothing discarded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from weightslab.batches import EpochPlan

SAMPLE_COUNT = 23


def _active(discarded: set[int]) -> Callable[[Sequence[int]], list[int]]:
    return lambda indices: [index for index in indices if index not in discarded]


def _plan(
    discarded: set[int], *, batch_size: int | None = 4, drop_last: bool = False, source: Any = range(10)
) -> EpochPlan:
    given = iter(source)
    return EpochPlan(given, batch_size=batch_size, drop_last=drop_last, active=_active(discarded))


def _rest(plan: EpochPlan) -> list[list[int]]:
    batches = []
    while (batch := plan.draw()) is not None:
        batches.append(plan.arrived())
        assert batches[-1] == batch
    return batches


def test_without_discards_batches_are_those_of_a_batch_sampler() -> None:
    assert _rest(_plan(set())) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert _rest(_plan(set(), drop_last=True)) == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_discarded_samples_are_left_out_and_batches_stay_whole() -> None:
    assert _rest(_plan({1, 2})) == [[0, 3, 4, 5], [6, 7, 8, 9]]


def test_what_is_put_back_comes_next_and_once() -> None:
    plan = _plan(set())
    first = plan.draw()
    plan.arrived()
    plan.put_back([0, 3])
    assert first == [0, 1, 2, 3]
    assert _rest(plan) == [[0, 3, 4, 5], [6, 7, 8, 9]]


def test_with_drop_last_samples_that_are_put_back_can_still_fill_the_last_batch() -> None:
    plan = _plan(set(), drop_last=True)
    plan.draw()
    plan.draw()
    assert plan.draw() is None
    plan.arrived()
    plan.put_back([0, 1])
    assert plan.has_returned
    assert sorted(plan.draw() or []) == [0, 1, 8, 9]


def test_a_rest_too_small_for_a_batch_does_not_keep_the_epoch_alive() -> None:
    plan = _plan(set(), drop_last=True)
    _rest(plan)
    assert not plan.has_returned


def test_groups_of_a_batch_sampler_keep_their_members() -> None:
    plan = _plan({1, 4, 5}, batch_size=None, source=[[0, 1], [4, 5], [2, 3]])
    assert _rest(plan) == [[0], [2, 3]]


def test_a_plan_moved_to_a_position_gives_the_same_rest() -> None:
    plan = _plan(set())
    plan.draw()
    plan.arrived()
    plan.draw()
    moved = _plan(set())
    moved.move_to(plan.position())
    plan.take_back_flight()
    assert _rest(moved) == _rest(plan) == [[4, 5, 6, 7], [8, 9]]


class PlanMachine(RuleBasedStateMachine):
    """Workers draw ahead, people discard and restore, and every active sample still comes exactly once."""

    @initialize(size=st.one_of(st.none(), st.integers(1, 7)), groups=st.integers(1, 5))
    def start(self, size: int | None, groups: int) -> None:
        self.discarded: set[int] = set()
        self.yielded: Counter[int] = Counter()
        self.ever_discarded: set[int] = set()
        everything = list(range(SAMPLE_COUNT))
        source: Sequence[object] = (
            everything if size else [everything[i : i + groups] for i in range(0, SAMPLE_COUNT, groups)]
        )
        self.plan = EpochPlan(iter(source), batch_size=size, drop_last=False, active=_active(self.discarded))  # type: ignore[arg-type]

    @rule()
    def draw(self) -> None:
        batch = self.plan.draw()
        assert batch is None or not self.discarded & set(batch)

    @precondition(lambda self: self.plan.in_flight)
    @rule()
    def arrive(self) -> None:
        batch = self.plan.arrived()
        kept = [index for index in batch if index not in self.discarded]
        if len(kept) < len(batch):
            self.plan.put_back(kept)
        else:
            self.yielded.update(batch)

    @rule(samples=st.sets(st.integers(0, SAMPLE_COUNT - 1), max_size=6))
    def discard(self, samples: set[int]) -> None:
        self.discarded |= samples
        self.ever_discarded |= samples

    @rule(samples=st.sets(st.integers(0, SAMPLE_COUNT - 1), max_size=6))
    def restore(self, samples: set[int]) -> None:
        self.discarded -= samples

    @rule()
    def forget_what_workers_have(self) -> None:
        self.plan.take_back_flight()

    def teardown(self) -> None:
        if not hasattr(self, "plan"):
            return
        while True:
            while self.plan.in_flight:
                self.arrive()
            if self.plan.draw() is None:
                break
        assert all(count == 1 for count in self.yielded.values())
        assert set(self.yielded) >= set(range(SAMPLE_COUNT)) - self.ever_discarded


TestPlanMachine = pytest.mark.timeout(60)(PlanMachine.TestCase)
TestPlanMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
