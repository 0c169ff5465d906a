"""A watched loader yields what the user's loader yields, less the discarded samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SequentialSampler, WeightedRandomSampler
from weightslab.run import Run
from weightslab_common.errors import FailedPrecondition, InvalidArgument

from tests.support.processes import wait_until
from tests.unit.trainer.runs import Background, Numbered, epoch, indices, watched

COUNT = 23


class Backwards(BatchSampler):
    """A batch sampler of the user: groups of unequal size, from the last to the first."""

    def __init__(self) -> None:
        super().__init__(SequentialSampler(range(COUNT)), 5, False)

    def __iter__(self):  # type: ignore[no-untyped-def]
        yield from reversed(list(super().__iter__()))


def flat(batches: list[list[int]]) -> list[int]:
    return [index for batch in batches for index in batch]


def _loader(**options: Any) -> DataLoader[Any]:
    return DataLoader(Numbered(COUNT), **{"batch_size": 4, **options})


LOADERS: dict[str, Callable[[], dict[str, Any]]] = {
    "in order": dict,
    "shuffled": lambda: {"shuffle": True},
    "generator": lambda: {"shuffle": True, "generator": torch.Generator().manual_seed(3)},
    "drop last": lambda: {"shuffle": True, "drop_last": True},
    "workers": lambda: {"shuffle": True, "num_workers": 2},
    "persistent": lambda: {"shuffle": True, "num_workers": 2, "persistent_workers": True},
    "weighted": lambda: {"sampler": WeightedRandomSampler(range(1, COUNT + 1), 30)},
    "sampler": lambda: {"sampler": RandomSampler(range(COUNT), num_samples=31)},
    "batch sampler": lambda: {"batch_sampler": Backwards(), "batch_size": 1},
    "collate": lambda: {"collate_fn": lambda samples: torch.utils.data.default_collate(samples[::-1])},
}


@pytest.mark.parametrize("kind", LOADERS)
def test_without_discards_batches_order_and_random_streams_are_the_users(kind: str) -> None:
    torch.manual_seed(11)
    plain = _loader(**LOADERS[kind]())
    expected = [epoch(plain), epoch(plain)]
    stream = torch.get_rng_state()
    torch.manual_seed(11)
    loader = watched(Run(), _loader(**LOADERS[kind]()))
    assert [epoch(loader), epoch(loader)] == expected
    assert torch.equal(torch.get_rng_state(), stream)
    assert len(loader) == len(plain)
    loader.close()


def test_without_automatic_batching_single_samples_come() -> None:
    run = Run()
    loader = watched(run, DataLoader(Numbered(5), batch_size=None))
    run.splits["train"].discard([2], discarded=True)
    assert [int(features[0]) for features, _ in loader] == [0, 1, 3, 4]


def test_the_batch_that_was_yielded_is_known_by_positions() -> None:
    run = Run()
    loader = watched(run, _loader(shuffle=True))
    for batch in loader:
        assert run.batch is not None
        assert run.batch.positions.tolist() == indices(batch)
    assert run.batch is None


def test_two_loaders_in_turn_know_each_the_samples_of_its_own_batch() -> None:
    run = Run()
    first, second = watched(run, _loader(shuffle=True)), watched(run, _loader(shuffle=True), name="other")
    for one, other in zip(first, second, strict=True):
        assert first.current_uids == [str(index) for index in indices(one)]
        assert second.current_uids == [str(index) for index in indices(other)]
    assert first.current_uids == second.current_uids == []


def test_a_loop_inside_a_loop_leaves_the_outer_batch_current() -> None:
    run = Run()
    train, val = watched(run, _loader()), watched(run, _loader(), name="val", train=False)
    for batch in train:
        next(iter(train))
        epoch(val)
        assert run.batch is not None
        assert run.batch.split.name == "train"
        assert run.batch.positions.tolist() == indices(batch)
    assert train.epoch == 1


def test_a_loop_that_draws_only_as_many_batches_as_there_are_passes_an_epoch_each_time() -> None:
    run = Run()
    loader = watched(run, _loader(shuffle=True))
    run.splits["train"].discard([3, 7], discarded=True)
    epochs = []
    for _ in range(3):
        drawn = iter(loader)
        for _ in range(len(loader)):
            next(drawn)
            assert run.batch is not None
            epochs.append(run.batch.epoch)
        del drawn
    next(iter(loader))
    assert epochs == [number for number in range(3) for _ in range(len(loader))]
    # A look at one batch is no epoch.
    assert loader.epoch == 3


def test_a_loop_that_is_left_early_has_passed_an_epoch_when_it_has_trained() -> None:
    run = Run()
    loader = watched(run, _loader(shuffle=True))
    other = watched(run, _loader(), name="val", train=False)
    forgotten = iter(loader)
    next(forgotten)
    # A check before the training begins.
    next(checked := iter(other))
    next(checked)
    del checked
    for expected in range(3):
        assert (loader.epoch, other.epoch) == (expected, expected)
        for number, _ in enumerate(loader):
            assert run.batch is not None
            assert run.batch.epoch == expected
            run.count_step()
            if number == 1:
                break
        for number, _ in enumerate(other):
            if number == 1:
                break
        # A look at one batch is no epoch.
        next(iter(loader))
        next(iter(other))
    del forgotten
    assert (loader.epoch, other.epoch) == (3, 3)


def test_a_loader_that_draws_by_itself_is_refused_with_what_to_do() -> None:
    class Repeating(DataLoader[Any]):
        """Starts its workers once, as loaders of some frameworks do."""

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.drawn = super().__iter__()

        def __iter__(self) -> Any:
            for _ in range(len(self)):
                yield next(self.drawn)

    loader = watched(Run(), Repeating(Numbered(COUNT), batch_size=4))
    with pytest.raises(FailedPrecondition, match=r"a Repeating draws its batches by itself, .* persistent_workers"):
        epoch(loader)


def test_a_loader_that_changes_its_batches_on_their_way_is_fine() -> None:
    class Doubling(DataLoader[Any]):
        def __iter__(self) -> Any:
            for features, targets in super().__iter__():
                yield features * 2, targets

    run = Run()
    for features, _ in watched(run, Doubling(Numbered(COUNT), batch_size=4, shuffle=True)):
        assert run.batch is not None
        assert [2 * position for position in run.batch.positions] == indices((features,))


def test_a_sampler_that_draws_more_than_an_index_is_refused() -> None:
    class Sized(Numbered):
        def __getitem__(self, index: Any) -> tuple[torch.Tensor, int]:
            return super().__getitem__(index[0])

    loader = watched(Run(), DataLoader(Sized(4), batch_size=2, sampler=[(0, 224), (1, 320)]))
    with pytest.raises(InvalidArgument, match=r"the sampler draws \(0, 224\): a sample is drawn by its index alone"):
        epoch(loader)


@pytest.mark.parametrize("workers", [0, 2])
def test_two_iterators_at_the_same_time_are_two_epochs(workers: int) -> None:
    loader = watched(Run(), _loader(shuffle=True, num_workers=workers))
    pairs = [(indices(first), indices(second)) for first, second in zip(loader, loader, strict=True)]
    for drawn in zip(*pairs, strict=True):
        assert sorted(flat(list(drawn))) == list(range(COUNT))


def test_an_iterator_that_somebody_forgot_disturbs_nobody() -> None:
    run = Run()
    loader = watched(run, _loader(shuffle=True))
    forgotten = iter(loader)
    first = indices(next(forgotten))
    drawn = []
    for number, batch in enumerate(loader):
        drawn.append(indices(batch))
        if number == 2:
            del forgotten
        assert run.batch is not None
        assert run.batch.positions.tolist() == indices(batch)
    assert sorted(flat(drawn)) == list(range(COUNT))
    assert len(first) == 4
    assert run.batch is None or run.batch.positions.tolist() == first


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", ["shuffled", "drop last", "batch sampler", "collate"])
def test_from_a_discard_on_no_batch_has_the_sample_and_every_other_comes_once(kind: str, workers: int) -> None:
    run = Run()
    options = LOADERS[kind]()
    loader = watched(run, _loader(**options, num_workers=workers))
    split = run.splits["train"]
    seen: Counter[int] = Counter()
    for number, batch in enumerate(loader):
        seen.update(indices(batch))
        if number == 1:
            # What workers have drawn ahead is hit, too.
            gone = [index for index in range(COUNT) if index not in seen][::2]
            with run.edit_lock:
                split.discard(gone, discarded=True)
    assert not set(gone) & set(seen)
    assert all(count == 1 for count in seen.values())
    missing = set(range(COUNT)) - set(gone) - set(seen)
    assert len(missing) < 4 if options.get("drop_last") else not missing
    for _ in range(2):
        again = Counter(index for batch in epoch(loader) for index in batch)
        assert not set(gone) & set(again)
        assert all(count == 1 for count in again.values())


@pytest.mark.parametrize("workers", [0, 2])
def test_a_sample_restored_before_the_next_epoch_comes_exactly_once_in_it(workers: int) -> None:
    run = Run()
    loader = watched(run, _loader(shuffle=True, num_workers=workers))
    split = run.splits["train"]
    split.discard([3, 7], discarded=True)
    assert sorted(flat(epoch(loader))) == [index for index in range(COUNT) if index not in (3, 7)]
    split.discard([7], discarded=False)
    assert sorted(flat(epoch(loader))) == [index for index in range(COUNT) if index != 3]


def test_a_seeded_order_is_reproducible_with_discards() -> None:
    orders = []
    for _ in range(2):
        torch.manual_seed(4)
        run = Run()
        loader = watched(run, _loader(shuffle=True))
        run.splits["train"].discard([1, 2, 3], discarded=True)
        orders.append([epoch(loader), epoch(loader)])
    assert orders[0] == orders[1]


def test_the_length_counts_active_samples() -> None:
    run = Run()
    loader = watched(run, _loader(shuffle=True))
    run.splits["train"].discard(range(10), discarded=True)
    assert len(loader) == len(epoch(loader)) == 4


def test_a_sampler_that_draws_with_replacement_draws_no_discarded_sample_and_has_its_expected_length() -> None:
    run = Run()
    sampler = WeightedRandomSampler(range(1, COUNT + 1), 400)
    loader = watched(run, _loader(sampler=sampler, num_workers=2))
    split = run.splits["train"]
    drawn: list[int] = []
    for number, batch in enumerate(loader):
        if number >= 5:
            drawn += indices(batch)
        if number == 4:
            # The ten heaviest: most of what is drawn.
            with run.edit_lock:
                split.discard(range(13, COUNT), discarded=True)
    assert set(drawn) <= set(range(13))
    assert len(loader) == round(400 * 13 / COUNT / 4)


@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker processes")
@pytest.mark.parametrize("options", [{"num_workers": 4}, {"num_workers": 2, "persistent_workers": True}])
def test_many_and_persistent_workers_obey_in_every_epoch(options: dict[str, Any]) -> None:
    run = Run()
    loader = watched(run, _loader(shuffle=True, **options))
    split = run.splits["train"]
    for gone in (5, 9, 14):
        for number, batch in enumerate(loader):
            if number == 0:
                with run.edit_lock:
                    split.discard([gone, gone + 1], discarded=True)
                seen = Counter(indices(batch))
                continue
            assert not {gone, gone + 1} & set(indices(batch))
            seen.update(indices(batch))
        assert all(count == 1 for count in seen.values())
        assert set(seen) >= set(range(COUNT)) - set(split.discarded.nonzero()[0].tolist())
    loader.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_with_all_discarded_the_loop_waits_says_so_and_goes_on_when_some_are_restored(workers: int) -> None:
    run = Run()
    loader = watched(run, _loader(shuffle=True, num_workers=workers))
    split = run.splits["train"]
    split.discard(range(COUNT), discarded=True)
    drawn: list[list[int]] = []
    loop = Background(lambda: drawn.extend(epoch(loader)))
    wait_until(lambda: run.message.startswith("no active samples"), what="the loop says that it waits")
    run.gate.pause().result(5)
    split.discard([4, 9], discarded=False)
    run.gate.poke()
    assert drawn == []
    run.gate.resume().result(5)
    loop.join()
    assert sorted(flat(drawn)) == [4, 9]
    assert run.message == ""


def test_too_few_samples_for_a_whole_batch_are_waited_for_with_their_number() -> None:
    run = Run()
    loader = watched(run, _loader(drop_last=True))
    split = run.splits["train"]
    split.discard(range(2, COUNT), discarded=True)
    loop = Background(lambda: epoch(loader))
    wait_until(lambda: "2 of 4" in run.message, what="the loop says what is missing")
    split.discard(range(2, 8), discarded=False)
    run.gate.poke()
    loop.join()


def test_a_changed_batch_size_holds_from_the_next_epoch_on() -> None:
    run = Run()
    loader = watched(run, _loader())
    sizes = []
    for batch in loader:
        loader.batch_size = 10
        sizes.append(len(batch[0]))
    assert sizes == [4, 4, 4, 4, 4, 3]
    assert [len(batch) for batch in epoch(loader)] == [10, 10, 3]
    assert len(loader) == 3


def test_an_edit_holds_from_the_next_step_when_a_batch_is_in_hand() -> None:
    run = Run()
    loader = watched(run, _loader())
    steps = []
    for _ in loader:
        steps.append(run.next_obeying_step())
        run.count_step()
        steps.append(run.next_obeying_step())
    assert steps[:4] == [1, 1, 2, 2]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", ["shuffled", "generator", "batch sampler"])
def test_a_loader_moved_back_draws_the_rest_of_the_epoch_again(kind: str, workers: int) -> None:
    run = Run()
    loader = watched(run, _loader(**LOADERS[kind](), num_workers=workers))
    iterator = iter(loader)
    for _ in range(2):
        next(iterator)
    position = loader.position()
    first = [indices(next(iterator)) for _ in range(2)]
    loader.move_to(position)
    assert [indices(next(iterator)) for _ in range(2)] == first
    rest = epoch(iterator)
    assert loader.epoch == 1
    loader.move_to(position)
    assert epoch(loader) == [*first, *rest]


def test_other_attributes_are_those_of_the_users_loader() -> None:
    plain = _loader(num_workers=2)
    loader = watched(Run(), plain)
    assert loader.dataset is plain.dataset
    assert loader.num_workers == 2


def test_a_pass_that_does_not_train_is_left_out_when_all_its_samples_are_discarded(
    caplog: pytest.LogCaptureFixture,
) -> None:
    run = Run()
    loader = watched(run, _loader(), name="val", train=False)
    split = run.splits["val"]
    split.discard(range(COUNT), discarded=True)
    assert epoch(loader) == []
    assert "split 'val' has no active samples: this pass over it is left out" in caplog.text
    split.discard([4], discarded=False)
    assert epoch(loader) == [[4]]
