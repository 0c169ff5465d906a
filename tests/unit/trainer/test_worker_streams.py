"""Data that is augmented at random in loader workers: after an audit, a load or a restart it is the same to the bit."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset
from weightslab import rng
from weightslab.audit import Audit
from weightslab.branches import BranchTree
from weightslab.checkpointing import Checkpointing
from weightslab.checkpoints import CheckpointStore
from weightslab.records import AUDIT_MODE, TRAIN_MODE
from weightslab.retention import Retention
from weightslab.run import Run

from tests.unit.trainer.runs import Numbered, Training, same, watched

# Four workers are meant, on two cores too.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker processes")

COUNT = 22
# Steps of an epoch: five batches of four and one of two.
EPOCH = 6
STEPS = 15


class Augmented(Dataset[tuple[torch.Tensor, int]]):
    """Every sample is drawn with noise of every library's stream."""

    def __init__(self) -> None:
        self._clean = Numbered(COUNT)

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        features, target = self._clean[index]
        noise = [random.random(), random.gauss(0, 1), float(np.random.normal()), float(torch.rand(()))]
        return torch.cat([features[:1], features[1:] + torch.tensor(noise[:3]) * noise[3]]), target


LOADERS: dict[str, dict[str, Any]] = {
    "no workers": {"num_workers": 0},
    "two": {"num_workers": 2},
    "four": {"num_workers": 4},
    "persistent": {"num_workers": 2, "persistent_workers": True},
    "generator": {"num_workers": 2, "generator": True},
}


def _training(kind: str, *, seed: int = 0, folder: Path | None = None) -> Training:
    random.seed(seed)
    np.random.seed(seed)
    training = Training(Run(), seed=seed)
    options = dict(LOADERS[kind])
    if options.pop("generator", False):
        options["generator"] = torch.Generator().manual_seed(seed)
    training.loader = DataLoader(Augmented(), batch_size=4, shuffle=True, **options)
    if folder is not None:
        training.checkpoints = Checkpointing(  # type: ignore[attr-defined]
            training.run,
            store=CheckpointStore(folder),
            branches=BranchTree(folder),
            every=0,
            retention=Retention(keep_last=9),
            restore=True,
        )
        training.run.before_batch = training.checkpoints.before_batch  # type: ignore[attr-defined]
    return training.watch()


@pytest.fixture(scope="module")
def undisturbed() -> Iterator[dict[str, Training]]:
    """A training of each kind that nobody looked into."""
    made = {}
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="This DataLoader will create 4 worker processes")
        for kind in LOADERS:
            made[kind] = _training(kind).train(STEPS)
    yield made
    for training in made.values():
        training.end()


@pytest.mark.parametrize("kind", LOADERS)
@pytest.mark.parametrize("step", [1, EPOCH + 4])
def test_an_audit_moves_no_stream_of_a_worker(undisturbed: dict[str, Training], kind: str, step: int) -> None:
    plain, audited = undisturbed[kind], _training(kind).train(step)
    audit = Audit(audited.run)
    audit.set_mode(AUDIT_MODE)
    audited.train_on(3)
    audit.set_mode(TRAIN_MODE)
    audited.train_on(STEPS - step)
    audited.end()
    assert audited.losses[:step] + audited.losses[step + 3 :] == plain.losses
    assert same(audited.weights(), plain.weights())


@pytest.mark.parametrize(
    ("kind", "step"), [*((kind, EPOCH + 4) for kind in LOADERS), ("two", 1), ("persistent", EPOCH)]
)
def test_a_restarted_script_augments_as_one_that_was_never_stopped(
    undisturbed: dict[str, Training], kind: str, step: int, tmp_path: Path
) -> None:
    stopped: Any = _training(kind, folder=tmp_path).train(step)
    stopped.checkpoints.save().result(30)
    stopped.checkpoints.close()
    stopped.end()
    restarted = _training(kind, folder=tmp_path, seed=1).train(STEPS - step)
    restarted.end()
    assert restarted.losses == undisturbed[kind].losses[step:]
    assert same(restarted.weights(), undisturbed[kind].weights())


def test_another_number_of_workers_goes_on_with_the_same_samples(tmp_path: Path) -> None:
    stopped: Any = _training("two", folder=tmp_path).train(2)
    stopped.checkpoints.save().result(30)
    stopped.checkpoints.close()
    stopped.end()
    restarted = _training("four", folder=tmp_path, seed=1).train(EPOCH - 2)
    restarted.end()
    drawn = [index for batch in stopped.seen + restarted.seen for index in batch]
    assert sorted(drawn) == list(range(COUNT))


def test_a_workers_own_beginning_is_called_before_its_streams_go_on(tmp_path: Path) -> None:
    runs = []
    for steps, seed in ((STEPS, 0), (4, 0), (STEPS - 4, 1)):
        folder = tmp_path if steps != STEPS else tmp_path / "undisturbed"
        training: Any = Training(Run(), seed=seed)
        training.loader = DataLoader(Augmented(), batch_size=4, num_workers=2, worker_init_fn=_seeded_by_the_user)
        training.checkpoints = Checkpointing(
            training.run,
            store=CheckpointStore(folder),
            branches=BranchTree(folder),
            every=0,
            retention=Retention(keep_last=9),
            restore=True,
        )
        training.run.before_batch = training.checkpoints.before_batch
        training.watch().train(steps)
        training.checkpoints.save().result(30)
        training.checkpoints.close()
        training.end()
        runs.append(training.losses)
    assert runs[1] + runs[2] == runs[0]


def _seeded_by_the_user(worker: int) -> None:
    np.random.seed(worker)


def test_streams_that_are_packed_come_back_as_they_were() -> None:
    for _ in range(3):
        # An odd number of normals leaves one of a pair.
        random.gauss(0, 1), np.random.normal(), torch.rand(1)
        state = rng.packed()
        first = [random.gauss(0, 1), random.random(), np.random.normal(), np.random.rand(), torch.rand(3).tolist()]
        rng.unpack(state)
        assert first == [
            random.gauss(0, 1),
            random.random(),
            np.random.normal(),
            np.random.rand(),
            torch.rand(3).tolist(),
        ]


class Odd:
    """What a user may collate to."""

    def __init__(self, samples: list[Any]) -> None:
        self.features = samples[0][0]


def test_a_batch_of_any_type_stays_what_the_user_collates() -> None:
    loader = watched(Run(), DataLoader(Numbered(4), batch_size=2, num_workers=1, collate_fn=Odd))
    assert [int(batch.features[0]) for batch in loader if type(batch) is Odd] == [0, 2]
