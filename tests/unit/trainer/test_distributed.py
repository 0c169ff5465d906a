"""Dealing out a dataset among ranks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data.distributed import DistributedSampler
from weightslab.distributed import dealt, is_distributed

from tests.unit.trainer.runs import Numbered


def _hands(
    count: int, ranks: int, *, discarded: frozenset[int] = frozenset(), drop_last: bool = False
) -> list[list[int]]:
    def active(indices: Sequence[int]) -> list[int]:
        return [index for index in indices if index not in discarded]

    dataset = Numbered(count)
    samplers: list[DistributedSampler[Any]] = [
        DistributedSampler(dataset, num_replicas=ranks, rank=rank, shuffle=True, seed=3, drop_last=drop_last)
        for rank in range(ranks)
    ]
    return [list(dealt(sampler, active=active)) for sampler in samplers]


def test_without_discards_each_rank_draws_what_its_sampler_draws() -> None:
    samplers: list[DistributedSampler[Any]] = [
        DistributedSampler(Numbered(12), num_replicas=3, rank=rank, seed=3) for rank in range(3)
    ]
    assert _hands(12, 3) == [list(sampler) for sampler in samplers]


@given(
    count=st.integers(1, 40),
    ranks=st.integers(1, 5),
    discarded=st.frozensets(st.integers(0, 39)),
    drop_last=st.booleans(),
)
def test_every_rank_draws_equally_many_and_each_active_sample_is_drawn(
    count: int, ranks: int, discarded: frozenset[int], drop_last: bool
) -> None:
    hands = _hands(count, ranks, discarded=discarded, drop_last=drop_last)
    left = set(range(count)) - discarded
    drawn = [index for hand in hands for index in hand]
    assert len({len(hand) for hand in hands}) == 1
    if drop_last:
        assert len(drawn) == len(set(drawn)) == len(left) // ranks * ranks
    else:
        assert set(drawn) == left
        assert len(drawn) - len(left) == -len(left) % ranks


@pytest.mark.parametrize("drop_last", [False, True])
def test_with_everything_discarded_no_rank_draws(drop_last: bool) -> None:
    assert _hands(6, 2, discarded=frozenset(range(6)), drop_last=drop_last) == [[], []]


def test_a_process_alone_is_not_distributed() -> None:
    assert not is_distributed()
