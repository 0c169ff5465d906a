"""The functions that a script calls."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import weightslab as wl
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, Subset, SubsetRandomSampler
from weightslab import api
from weightslab_common.errors import FailedPrecondition, InvalidArgument
from weightslab_proto.weightslab.v1 import (
    Mode,
    PauseRequest,
    PauseResponse,
    ResumeRequest,
    ResumeResponse,
    RunState,
    SetModeRequest,
    SetModeResponse,
)

from tests.unit.trainer.peers import Peer, eventually, new_experiment
from tests.unit.trainer.runs import Background, Numbered, epoch
from tests.unit.trainer.served import Script

PROMISED = {
    "keep_serving",
    "serve",
    "watch_hyperparameters",
    "watch_loader",
    "watch_loss",
    "watch_metric",
    "watch_model",
    "watch_optimizer",
}


def test_the_public_names_are_sorted_documented_and_complete() -> None:
    assert sorted(wl.__all__) == wl.__all__
    assert set(wl.__all__) >= PROMISED
    for name in PROMISED:
        assert getattr(wl, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'watch_everything'"):
        wl.watch_everything  # noqa: B018


def test_importing_is_light_and_brings_no_torch() -> None:
    code = (
        "import time; start = time.perf_counter(); import weightslab; "
        "taken = time.perf_counter() - start; import sys; "
        "assert 'torch' not in sys.modules; assert 'nats' not in sys.modules; print(taken)"
    )
    taken = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(3)
    ]
    assert min(taken) < 0.15


def test_what_is_watched_is_returned_and_watching_twice_is_watching_once() -> None:
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    step = wl.watch_optimizer(optimizer).step
    assert wl.watch_optimizer(optimizer).step == step
    assert wl.watch_model(wl.watch_model(model)) is model
    parameters = {"lr": 0.1}
    assert wl.watch_hyperparameters(parameters) is parameters
    loader = wl.watch_loader(DataLoader(Numbered(8), batch_size=4))
    assert wl.watch_loader(loader) is loader
    criterion = wl.watch_loss(nn.CrossEntropyLoss())
    assert wl.watch_loss(criterion) is criterion
    # In a run that begins afterwards all is watched anew, and only there.
    stopped = api._run()
    wl.stop()
    again, loss = wl.watch_loader(loader), wl.watch_loss(criterion)
    for features, targets in again:
        loss(model(features), targets)
    assert len(api._run().ring.take()) == 2
    assert stopped.ring.take() == []


def test_without_serving_a_watched_loop_is_a_loop() -> None:
    loader = wl.watch_loader(DataLoader(Numbered(10), batch_size=4))
    assert epoch(loader) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_the_second_loader_is_for_validation_and_two_loaders_may_share_a_split() -> None:
    dataset = Numbered(10)
    train = wl.watch_loader(DataLoader(dataset, batch_size=4))
    val = wl.watch_loader(DataLoader(Numbered(5), batch_size=4))
    plain = wl.watch_loader(DataLoader(dataset, batch_size=10), split="train", train=False)
    assert [(each.split.name, each.name, each.train) for each in (train, val, plain) if each.split] == [
        ("train", "train", True),
        ("val", "val", False),
        ("train", "train-2", False),
    ]
    with pytest.raises(InvalidArgument, match="split 'train' is already watched with other samples"):
        wl.watch_loader(DataLoader(Numbered(7)), split="train")


@pytest.mark.parametrize("split", [None, "train"])
@pytest.mark.parametrize("subset", [False, True])
def test_a_loader_that_is_made_anew_for_each_epoch_is_the_same_loader(split: str | None, subset: bool) -> None:
    dataset = Numbered(12)
    run = api._run()
    seen = []
    for number in range(3):
        part: Any = Subset(dataset, [3, 5, 8, 9]) if subset else dataset
        loader = wl.watch_loader(DataLoader(part, batch_size=4, shuffle=True), split)
        assert (loader.name, loader.train, loader.epoch) == ("train", True, number)
        assert run.loaders == [loader]
        run.splits["train"].discard([1], discarded=True)
        for _ in loader:
            assert run.batch is not None
            seen += [(run.batch.epoch, uid) for uid in loader.current_uids]
    active = ["3", "8", "9"] if subset else [str(index) for index in range(12) if index != 1]
    assert sorted(seen) == sorted((number, uid) for number in range(3) for uid in active)


def test_two_samplers_that_part_one_dataset_are_two_splits() -> None:
    dataset = Numbered(12)
    for number in range(2):
        parts = [range(8), range(8, 12)]
        train, val = (
            wl.watch_loader(DataLoader(dataset, batch_size=4, sampler=SubsetRandomSampler(part))) for part in parts
        )
        assert [(each.name, each.train, each.epoch) for each in (train, val)] == [
            ("train", True, number),
            ("val", False, number),
        ]
        assert sorted(index for batch in epoch(train) for index in batch) == list(parts[0])
        assert sorted(index for batch in epoch(val) for index in batch) == list(parts[1])


def test_two_loaders_over_the_same_samples_that_are_used_in_turn_count_epochs_together() -> None:
    dataset = Numbered(8)
    run = api._run()
    loaders = [wl.watch_loader(DataLoader(dataset, batch_size=2), "train")]
    epoch(loaders[0])
    loaders.append(wl.watch_loader(DataLoader(dataset, batch_size=4), "train"))
    found = []
    for loader in (*loaders, *loaders):
        for _ in loader:
            assert run.batch is not None
            found.append(run.batch.epoch)
    assert found == [1] * 4 + [2] * 2 + [3] * 4 + [4] * 2
    assert len(run.loaders) == 1


def test_an_iterable_dataset_is_iterated_and_says_what_it_cannot_do(caplog: pytest.LogCaptureFixture) -> None:
    class Stream(IterableDataset[int]):
        def __iter__(self):  # type: ignore[no-untyped-def]
            return iter(range(5))

    loader = wl.watch_loader(DataLoader(Stream(), batch_size=2))
    assert [batch.tolist() for batch in loader] == [[0, 1], [2, 3], [4]]
    assert "cannot be told apart nor discarded" in caplog.text


def test_reading_the_first_sample_moves_no_random_stream() -> None:
    class Augmented(Numbered):
        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            features, target = super().__getitem__(index)
            return features + torch.rand(4), target

    before = torch.get_rng_state()
    wl.watch_loader(DataLoader(Augmented(4)))
    assert torch.equal(torch.get_rng_state(), before)


def test_serving_needs_a_good_name_and_happens_once(
    script: Callable[..., Script], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InvalidArgument, match="experiment name 'My Run!' is not usable"):
        wl.serve(experiment="My Run!")
    with pytest.raises(FailedPrecondition, match=r"call serve\(\) before"):
        wl.keep_serving()
    script()
    with pytest.raises(FailedPrecondition, match="served already"):
        wl.serve()


def test_without_a_bus_and_without_a_studio_there_is_nothing_to_attach_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WL_NATS_URL", raising=False)
    with pytest.raises(FailedPrecondition, match="set WL_NATS_URL"):
        wl.serve(serving_grpc=False, experiment="alone")


async def test_a_finished_run_stays_visible_and_cannot_be_resumed(script: Callable[..., Script], peer: Peer) -> None:
    script()
    keeping = Background(wl.keep_serving)
    status = await peer.status_when(lambda s: s.finished, what="the end of the loop is told")
    assert status.state == RunState.PAUSED
    assert (await peer.ask("pause", PauseRequest(), PauseResponse)).step == 0
    with pytest.raises(FailedPrecondition, match="the training loop has ended"):
        await peer.ask("resume", ResumeRequest(), ResumeResponse)
    wl.stop()
    keeping.join()
    assert threading.active_count() < 20


SCRIPT = """
import sys, time
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
import weightslab as wl

loader = wl.watch_loader(DataLoader(TensorDataset(torch.rand(32, 4), torch.randint(3, (32,))), batch_size=4))
model = wl.watch_model(nn.Linear(4, 3))
optimizer = wl.watch_optimizer(torch.optim.SGD(model.parameters(), lr=0.1))
criterion = wl.watch_loss(nn.CrossEntropyLoss())
wl.serve(serving_cli=False, checkpoint_every=5)
while True:
    for features, targets in loader:
        optimizer.zero_grad()
        criterion(model(features), targets).backward()
        optimizer.step()
        time.sleep(0.01)
    if "keep" in sys.argv:
        wl.keep_serving()
        print("kept")
        sys.exit(0)
"""


def _start(folder: Path, nats_url: str, experiment: str, *arguments: str) -> subprocess.Popen[str]:
    script = folder / "script.py"
    script.write_text(SCRIPT)
    environment = {
        **os.environ,
        "WL_NATS_URL": nats_url,
        "WL_DATA_DIR": str(folder / "data"),
        "WL_EXPERIMENT": experiment,
        "WL_MEDIA_WORKER": "thread",
    }
    return subprocess.Popen(
        [sys.executable, str(script), *arguments], env=environment, stdout=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_that_is_watched_and_served_ends_bit_identically(
    workers: int, nats_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Augmented(Numbered):
        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            features, target = super().__getitem__(index)
            return features + torch.rand(4) * random.random() * np.random.rand(), target

    def trained(*, watched: bool) -> tuple[list[torch.Tensor], float, float, float]:
        random.seed(1)
        np.random.seed(1)
        torch.manual_seed(1)
        model: nn.Module = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 3))
        optimizer: torch.optim.Optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        criterion: Any = nn.CrossEntropyLoss()
        loader: Any = DataLoader(Augmented(20), batch_size=6, shuffle=True, num_workers=workers)
        if watched:
            wl.watch_model(model, norms=["gradient", "weight", "activation"])
            wl.watch_optimizer(optimizer)
            criterion, loader = wl.watch_loss(criterion), wl.watch_loader(loader)
            wl.watch_hyperparameters({"lr": 0.01})
            wl.serve(serving_cli=False, experiment=new_experiment(), checkpoint_every=3)
        for _ in range(3):
            for features, targets in loader:
                optimizer.zero_grad()
                criterion(model(features), targets).backward()
                optimizer.step()
        wl.stop()
        state = [tensor.clone() for tensor in model.state_dict().values()]
        return state, random.random(), float(np.random.rand()), torch.rand(1).item()

    # Two addresses, as of a cluster.
    monkeypatch.setenv("WL_NATS_URL", f"{nats_url},{nats_url.replace('127.0.0.1', 'localhost')}")
    monkeypatch.setenv("WL_DATA_DIR", str(tmp_path))
    torch.testing.assert_close(trained(watched=True), trained(watched=False), rtol=0, atol=0)


async def test_a_notebook_goes_on_after_a_kept_run(script: Callable[..., Script]) -> None:
    script()
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    wl.keep_serving(timeout=0.01)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


async def test_a_loop_that_goes_on_after_a_run_was_stopped_in_an_audit_trains(
    script: Callable[..., Script], peer: Peer
) -> None:
    running = script().start()
    await peer.begun()
    await peer.ask("set_mode", SetModeRequest(mode=Mode.AUDIT), SetModeResponse)
    audited = running.weights()
    # On this thread, as in a notebook, while the loop is held inside a step.
    running.hold()
    wl.stop()
    running.release()
    running.end()
    assert not all(map(torch.equal, running.weights(), audited))


async def test_sigterm_ends_a_kept_run_in_order(nats_url: str, peer: Peer, tmp_path: Path) -> None:
    process = _start(tmp_path, nats_url, peer.experiment, "keep")
    try:
        status = await peer.status_when(lambda s: s.finished, what="the loop has ended")
        assert status.step == 8
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=20)
    finally:
        process.kill()
    assert (process.returncode, output) == (0, "kept\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_a_script_that_is_started_again_goes_on_where_it_was_saved(
    nats_url: str, peer: Peer, tmp_path: Path, number: signal.Signals
) -> None:
    first = _start(tmp_path, nats_url, peer.experiment)
    try:
        before = await peer.status_when(lambda s: s.last_checkpoint_step >= 10, what="step 10 is saved")
        first.send_signal(number)
        first.communicate(timeout=20)
    finally:
        first.kill()
    assert first.returncode == (143 if number == signal.SIGTERM else -signal.SIGKILL)
    second = _start(tmp_path, nats_url, peer.experiment)
    try:
        after = await peer.status_when(
            lambda s: s.run_id != before.run_id and s.step > before.step + 2, what="it goes on"
        )
        assert [branch.parent_branch for branch in after.branches][1:] == ["main"] * (len(after.branches) - 1)

        async def stored() -> list[int]:
            return [step for branch, _, step, _ in await peer.points("train/loss") if branch == after.branch]

        points = await eventually(stored, what="points of the second process are stored")
        assert len(points) == len(set(points)), "no step is drawn twice on a branch"
        assert min(points) == (0 if after.branch == "main" else after.branches[-1].parent_step)
    finally:
        second.kill()
        second.communicate()
