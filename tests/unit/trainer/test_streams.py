"""Iterable datasets with uids of the user: batches without discarded samples, current uids known."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import weightslab as wl
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from weightslab.loader import WatchedLoader
from weightslab_common.errors import InvalidArgument

from tests.support.processes import wait_until
from tests.unit.trainer.runs import Background

COUNT = 12


class Stream(IterableDataset[Any]):
    """Samples 0 to 11, dealt out to the workers."""

    def __iter__(self) -> Iterator[torch.Tensor]:
        info = get_worker_info()
        first, step = (info.id, info.num_workers) if info else (0, 1)
        yield from (torch.tensor([float(index), 0.5]) for index in range(first, COUNT, step))


def _name(sample: torch.Tensor) -> str:
    return f"s{int(sample[0])}"


NAMES = [f"s{index}" for index in range(COUNT)]


def _watched(split: str = "train", **options: Any) -> WatchedLoader:
    loader: DataLoader[Any] = DataLoader(Stream(), **{"batch_size": 4, **options})
    return wl.watch_loader(loader, split, uids=NAMES, uid_of=_name)


def _seen(loader: WatchedLoader) -> list[int]:
    return sorted(int(value) for batch in loader for value in batch[:, 0])


@pytest.mark.parametrize("workers", [0, 2])
def test_discarded_samples_are_filtered_out_and_every_other_comes_once(workers: int) -> None:
    loader = _watched(num_workers=workers)
    assert _seen(loader) == list(range(COUNT))
    assert loader.split is not None
    batches = iter(loader)
    first = next(batches)
    uids = loader.current_uids
    assert uids == [_name(sample) for sample in first]
    loader.split.discard([10, 11], discarded=True)
    rest = [int(value) for batch in batches for value in batch[:, 0]]
    assert sorted(rest + [int(value) for value in first[:, 0]]) == list(range(10))
    loader.split.discard([10], discarded=False)
    assert _seen(loader) == list(range(11))


def test_without_automatic_batching_single_samples_come() -> None:
    loader = _watched(batch_size=None)
    assert loader.split is not None
    loader.split.discard([0], discarded=True)
    assert [int(sample[0]) for sample in loader] == list(range(1, COUNT))


def test_a_stream_that_trains_waits_when_all_are_discarded() -> None:
    loader = _watched()
    assert loader.split is not None
    loader.split.discard(range(COUNT), discarded=True)
    seen: list[int] = []
    loop = Background(lambda: seen.extend(_seen(loader)))
    run = loader.run
    wait_until(lambda: run.message.startswith("no active samples"), what="the loop says that it waits")
    loader.split.discard([3], discarded=False)
    run.gate.poke()
    loop.join()
    assert seen == [3]


def test_a_sample_that_was_not_named_before_is_refused() -> None:
    loader = wl.watch_loader(DataLoader(Stream(), batch_size=4), uids=NAMES[:2], uid_of=_name)
    with pytest.raises(InvalidArgument, match="split 'train' has no sample 's2', 's3'"):
        next(iter(loader))


def test_a_sample_without_a_name_says_what_to_give() -> None:
    loader = wl.watch_loader(DataLoader(Stream(), batch_size=4), uids=NAMES)
    with pytest.raises(InvalidArgument, match="give `uid_of`"):
        next(iter(loader))


def test_without_uids_batches_come_and_it_is_said_what_that_costs(caplog: pytest.LogCaptureFixture) -> None:
    loader = wl.watch_loader(DataLoader(Stream(), batch_size=4))
    assert len(list(loader)) == 3
    assert "without `uids` its samples cannot be told apart nor discarded" in caplog.text
