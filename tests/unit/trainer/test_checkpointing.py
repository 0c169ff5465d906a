"""Saving, loading, branching, restarting."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler as schedules
from torch.utils.data import DataLoader, WeightedRandomSampler
from weightslab import tree, tuning
from weightslab.audit import Audit
from weightslab.branches import BranchTree
from weightslab.checkpointing import Checkpointing
from weightslab.checkpoints import CheckpointInfo, CheckpointStore
from weightslab.gate import GateState
from weightslab.operations import ModelState
from weightslab.records import AUDIT_MODE, TRAIN_MODE
from weightslab.retention import Retention
from weightslab.run import Run
from weightslab_common.errors import FailedPrecondition

from tests.support.processes import wait_until
from tests.unit.trainer.runs import Background, Numbered, Training, same


def _served(
    folder: Path,
    *,
    every: int = 0,
    seed: int = 0,
    restore: bool = True,
    keep: int = 100,
    keep_every: int = 0,
    optimizer: type[torch.optim.Optimizer] | None = None,
    schedule: str | None = None,
) -> Training:
    """A training whose checkpoints are on, as `serve` turns them on."""
    training = Training(Run(), seed=seed)
    if optimizer is not None:
        training.optimizer = optimizer(training.model.parameters(), lr=0.01)  # type: ignore[call-arg]
        training.scheduler = schedules.StepLR(training.optimizer, step_size=5)
    if schedule is not None:
        _scheduled(training, schedule)
    training.checkpoints = Checkpointing(  # type: ignore[attr-defined]
        training.run,
        store=CheckpointStore(folder),
        branches=BranchTree(folder),
        every=every,
        retention=Retention(keep_last=keep, keep_every=keep_every),
        restore=restore,
    )
    training.run.before_batch = training.checkpoints.before_batch  # type: ignore[attr-defined]
    return training.watch()


def _checkpoints(training: Training) -> Checkpointing:
    checkpointing: Checkpointing = training.checkpoints  # type: ignore[attr-defined]
    return checkpointing


def _load(training: Training, branch: str, step: int) -> CheckpointInfo:
    checkpoints = _checkpoints(training)
    info = checkpoints.store.at_or_before(branch, step)
    checkpoints.load(info, checkpoints.store.read(info))
    return info


def _resume(training: Training) -> None:
    """What the loop's gate does when people resume."""
    training.run.gate.resume()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints"


@pytest.mark.parametrize("step", [8, 3])
def test_a_restarted_training_is_bit_identical_to_one_that_was_never_stopped(folder: Path, step: int) -> None:
    plain = Training(Run()).watch().train(20)
    stopped = _served(folder).train(step)
    _checkpoints(stopped).save().result(10)
    _checkpoints(stopped).close()
    restarted = _served(folder, seed=1).train(20 - step)
    assert restarted.run.step == 20
    assert restarted.run.branch == "main"
    assert restarted.seen == plain.seen[step:]
    assert restarted.losses == plain.losses[step:]
    assert same(restarted.weights(), plain.weights())
    assert restarted.optimizer.state_dict()["param_groups"] == plain.optimizer.state_dict()["param_groups"]
    assert restarted.run.run_id != stopped.run.run_id


def test_with_a_sampler_and_adam_and_discards_the_rest_of_the_epoch_is_the_same(folder: Path) -> None:
    def build(training: Training) -> Training:
        training.loader = DataLoader(Numbered(22), batch_size=4, sampler=WeightedRandomSampler(range(1, 23), 30))
        training.optimizer = torch.optim.Adam(training.model.parameters())
        training.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(training.optimizer, T_max=10)
        return training

    plain = build(Training(Run())).watch()
    plain.run.splits["train"].discard([1, 20], discarded=True)
    plain.train(12)
    seen = []
    for seed, steps in ((0, 5), (1, 7)):
        training = build(Training(Run(), seed=seed))
        checkpoints = Checkpointing(
            training.run,
            store=CheckpointStore(folder),
            branches=BranchTree(folder),
            every=0,
            retention=Retention(keep_last=3),
            restore=True,
        )
        training.run.before_batch = checkpoints.before_batch
        training.watch().run.splits["train"].discard([1, 20], discarded=True)
        training.train(steps)
        checkpoints.save().result(10)
        seen += training.seen
    assert seen == plain.seen
    assert same(training.weights(), plain.weights())


def test_it_saves_by_itself_and_load_answers_the_newest_at_or_before(folder: Path) -> None:
    training = _served(folder, every=10).train(58)
    wait_until(lambda: _checkpoints(training).last_step == 50, what="step 50 is saved")
    _checkpoints(training).close()
    assert [info.step for info in _checkpoints(training).store.all()] == [10, 20, 30, 40, 50]
    assert _load(training, "main", 57).step == 50


def test_a_loop_that_goes_on_after_the_end_of_serving_is_just_a_loop(folder: Path) -> None:
    training = _served(folder, every=2).train(5)
    _checkpoints(training).close()
    training.train_on(5)
    assert max(info.step for info in _checkpoints(training).store.all()) <= 5


def test_loading_alone_makes_no_branch_and_resuming_makes_one_with_its_parent(folder: Path) -> None:
    training = _served(folder).train(5)
    _checkpoints(training).save().result(10)
    saved = training.weights()
    training.train_on(4)
    branches = _checkpoints(training).branches
    _load(training, "main", 7)
    assert same(training.weights(), saved)
    assert training.run.step == 5
    assert training.run.gate.state is GateState.PENDING
    assert [record.branch for record in branches.all()] == ["main"]
    _resume(training)
    training.train_on(1)
    assert training.run.branch == "b2"
    assert [(r.branch, r.parent_branch, r.parent_step) for r in branches.all()] == [("main", "", 0), ("b2", "main", 5)]
    moments = [record.moment for record in training.run.ring.take()]
    assert [(moment.branch, moment.step) for moment in moments][-2:] == [("main", 8), ("b2", 5)]


def test_a_restart_after_a_load_that_was_not_resumed_makes_a_branch_too(folder: Path) -> None:
    training = _served(folder).train(2)
    _checkpoints(training).save().result(10)
    training.train_on(3)
    _load(training, "main", 2)
    _checkpoints(training).close()

    # The old line has points up to step 5; they stay its own.
    again = _served(folder).train(1)
    assert again.run.step == 3
    branches = [(r.branch, r.parent_branch, r.parent_step) for r in _checkpoints(again).branches.all()]
    assert branches == [("main", "", 0), ("b2", "main", 2)]


def test_a_branch_repeats_its_parent_bit_identically_when_nothing_is_changed(folder: Path) -> None:
    training = _served(folder).train(7)
    _checkpoints(training).save().result(10)
    training.train_on(6)
    first, seen = training.weights(), training.seen[7:]
    _load(training, "main", 7)
    _resume(training)
    training.train_on(6)
    assert training.seen[13:] == seen
    assert same(training.weights(), first)


def test_loading_leaves_discards_and_hyperparameters_alone(folder: Path) -> None:
    training = _served(folder)
    training.run.hyperparameters.watch({"optimizer": {"lr": 0.05}})
    training.train(3)
    _checkpoints(training).save().result(10)
    tuning.apply(training.run, "optimizer.lr", 0.4)
    training.run.splits["train"].discard([2], discarded=True)
    _load(training, "main", 3)
    assert training.optimizer.param_groups[0]["lr"] == 0.4
    assert training.run.hyperparameters.applied() == {"optimizer.lr": 0.4}
    assert training.run.splits["train"].discarded.nonzero()[0].tolist() == [2]
    _resume(training)
    training.train_on(1)
    assert training.optimizer.param_groups[0]["lr"] == 0.4


def test_a_schedule_goes_on_from_where_it_was_saved(folder: Path) -> None:
    training = _served(folder).train(4)
    training.run.hyperparameters.watch({"lr": 0.05})
    _checkpoints(training).save().result(10)
    training.train_on(8)
    assert training.optimizer.param_groups[0]["lr"] == pytest.approx(0.0125)
    _load(training, "main", 4)
    assert training.optimizer.param_groups[0]["lr"] == 0.05


@pytest.mark.parametrize("file", ["tensors.safetensors", "state.json", "manifest.json"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "foreign"])
def test_a_damaged_checkpoint_is_refused_by_name_and_the_run_is_unchanged(folder: Path, file: str, damage: str) -> None:
    training = _served(folder).train(3)
    info = _checkpoints(training).save().result(10)
    training.train_on(2)
    weights = training.weights()
    path = folder / "main" / f"{3:012d}" / file
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 0x55
        path.write_bytes(content)
    elif damage == "truncate":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "remove":
        path.unlink()
    else:
        path.write_bytes(b"PK\x03\x04 a foreign file")
    # A manifest that still reads may give the blame to the file whose checksum it changed.
    named = r"manifest\.json|checksum" if file == "manifest.json" else file.replace(".", r"\.")
    with pytest.raises(FailedPrecondition, match=named):
        _checkpoints(training).store.read(info)
    assert same(training.weights(), weights)
    assert training.run.step == 5


def test_a_manifest_that_names_another_place_is_no_checkpoint(folder: Path, tmp_path: Path) -> None:
    training = _served(folder).train(3)
    _checkpoints(training).save().result(10)
    path = folder / "main" / f"{3:012d}" / "manifest.json"
    elsewhere = os.path.relpath(tmp_path / "precious", folder)
    path.write_bytes(path.read_bytes().replace(b'"main"', f'"{elsewhere}"'.encode()))
    assert _checkpoints(training).store.all() == []


def test_a_checkpoint_of_another_model_is_refused_and_the_run_is_unchanged(folder: Path) -> None:
    _checkpoints(saved := _served(folder).train(2)).save().result(10)
    other = Training(Run())
    other.model = nn.Sequential(nn.Linear(4, 3))
    other.optimizer = torch.optim.SGD(other.model.parameters(), lr=0.1)
    other.scheduler = torch.optim.lr_scheduler.StepLR(other.optimizer, step_size=5)
    other.watch().train(1)
    weights = other.weights()
    checkpoints = _checkpoints(saved)
    refusing = Checkpointing(
        other.run,
        store=checkpoints.store,
        branches=checkpoints.branches,
        every=0,
        retention=Retention(1),
        restore=False,
    )
    info = checkpoints.store.at_or_before("main", 2)
    with pytest.raises(FailedPrecondition, match="model 'model' differs"):
        refusing.load(info, checkpoints.store.read(info))
    assert same(other.weights(), weights)
    assert refusing.loaded is None
    assert other.run.gate.state is GateState.RUNNING


def test_nothing_is_saved_or_loaded_in_audit_mode(folder: Path) -> None:
    training = _served(folder).train(2)
    info = _checkpoints(training).save().result(10)
    training.run.mode = AUDIT_MODE
    with pytest.raises(FailedPrecondition, match="audit mode"):
        _checkpoints(training).save()
    with pytest.raises(FailedPrecondition, match="audit mode"):
        _checkpoints(training).load(info, {})


@pytest.mark.parametrize("in_order", [True, False])
def test_a_restart_that_loses_steps_goes_on_as_a_branch_of_what_was_saved(folder: Path, in_order: bool) -> None:
    first = _served(folder).train(4)
    _checkpoints(first).save().result(10)
    first.train_on(3)
    if in_order:
        _checkpoints(first).close()
    restarted = _served(folder).train(1)
    record = _checkpoints(restarted).branches.all()[-1]
    assert (restarted.run.branch, record.parent_branch, record.parent_step) == ("b2", "main", 4)


def test_a_restart_without_a_checkpoint_is_a_line_of_its_own(folder: Path) -> None:
    _served(folder).train(2)
    restarted = _served(folder).train(1)
    assert (restarted.run.branch, restarted.run.step) == ("b2", 1)
    assert _checkpoints(restarted).branches.all()[-1].parent_branch == ""


def test_a_restart_takes_an_older_checkpoint_when_the_newest_is_damaged(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = _served(folder).train(2)
    _checkpoints(first).save().result(10)
    first.train_on(2)
    _checkpoints(first).save().result(10)
    (folder / "main" / f"{4:012d}" / "state.json").write_text("{}")
    restarted = _served(folder).train(1)
    assert restarted.run.step == 3
    assert "main@4 is not restored" in caplog.text


def test_a_load_asked_for_before_the_first_batch_is_what_the_run_begins_with(folder: Path) -> None:
    first = _served(folder).train(2)
    _checkpoints(first).save().result(10)
    first.train_on(2)
    _checkpoints(first).save().result(10)
    second = _served(folder)
    gate = second.run.gate
    loading = gate.submit(lambda: _load(second, "main", 3))
    loop = Background(lambda: second.train(1))
    assert loading.result(10).step == 2
    wait_until(lambda: gate.state is GateState.PAUSED, what="loading pauses")
    gate.resume().result(5)
    loop.join()
    assert (second.run.branch, second.run.step) == ("b2", 3)


def test_retention_keeps_the_last_of_each_branch_and_branch_points(folder: Path) -> None:
    training = _served(folder, keep=2).train(1)
    checkpoints: Any = _checkpoints(training)
    for _ in range(4):
        checkpoints.save().result(10)
        training.train_on(1)
    assert [info.step for info in checkpoints.store.all()] == [3, 4]
    _load(training, "main", 3)
    _resume(training)
    for _ in range(4):
        training.train_on(1)
        checkpoints.save().result(10)
    assert [(info.branch, info.step) for info in checkpoints.store.all()] == [
        ("main", 3),
        ("main", 4),
        ("b2", 6),
        ("b2", 7),
    ]


def test_the_first_of_every_so_many_steps_is_kept_for_ever(folder: Path) -> None:
    training = _served(folder, every=2, keep=2, keep_every=6).train(21)
    wait_until(lambda: _checkpoints(training).last_step == 20, what="step 20 is saved")
    _checkpoints(training).close()
    assert [info.step for info in _checkpoints(training).store.all()] == [2, 6, 12, 18, 20]


def test_a_checkpoint_that_is_about_to_be_loaded_is_not_removed(folder: Path) -> None:
    training = _served(folder, keep=1).train(1)
    checkpoints = _checkpoints(training)
    checkpoints.save().result(10)
    info, state = checkpoints.read("main", 5)
    training.train_on(1)
    checkpoints.save().result(10)
    assert [info.step for info in checkpoints.store.all()] == [1, 2]
    checkpoints.load(info, state)
    with pytest.raises(FailedPrecondition, match="stands at the loaded checkpoint main@1, which stays as it was saved"):
        checkpoints.save()


def test_what_a_killed_process_left_half_done_is_mended(folder: Path) -> None:
    training = _served(folder).train(3)
    _checkpoints(training).save().result(10)
    branch = folder / "main"
    # Killed while the first checkpoint was replaced, and while a second was written.
    os.replace(branch / f"{3:012d}", branch / f".replaced-{3:012d}")
    (branch / f".partial-{7:012d}").mkdir()
    assert _checkpoints(training).store.all() == []
    restarted = _served(folder, seed=1).train(1)
    assert restarted.run.step == 4
    assert [path.name for path in branch.iterdir()] == [f"{3:012d}"]


@pytest.mark.parametrize("name", ["main/000000000009", "other/000000000003"])
def test_a_folder_that_was_copied_from_elsewhere_is_no_checkpoint(folder: Path, name: str) -> None:
    training = _served(folder, keep=1).train(3)
    checkpoints = _checkpoints(training)
    checkpoints.save().result(10)
    shutil.copytree(folder / "main" / f"{3:012d}", folder / name)
    assert [(info.branch, info.step) for info in checkpoints.store.all()] == [("main", 3)]
    training.train_on(1)
    checkpoints.save().result(10)
    assert (folder / name).exists()


def test_a_manifest_that_names_a_place_outside_removes_nothing_there(folder: Path) -> None:
    outside = folder.parent / "outside" / f"{1:012d}"
    outside.mkdir(parents=True)
    training = _served(folder, keep=1).train(3)
    checkpoints = _checkpoints(training)
    checkpoints.save().result(10)
    foreign = folder / "foreign" / f"{1:012d}"
    shutil.copytree(folder / "main" / f"{3:012d}", foreign)
    manifest = json.loads((foreign / "manifest.json").read_text())
    (foreign / "manifest.json").write_text(json.dumps({**manifest, "branch": "../outside", "step": 1}))
    training.train_on(1)
    checkpoints.save().result(10)
    assert outside.exists()
    assert [(info.branch, info.step) for info in checkpoints.store.all()] == [("main", 4)]


def test_the_state_of_another_optimizer_is_refused_and_the_run_is_unchanged(folder: Path) -> None:
    _checkpoints(_served(folder).train(2)).save().result(10)
    other = _served(folder, restore=False, optimizer=torch.optim.Adam).train(1)
    weights = other.weights()
    with pytest.raises(FailedPrecondition, match=r"optimizers \{'optimizer': 'SGD'\}, this run has .*Adam"):
        _load(other, "main", 2)
    assert same(other.weights(), weights)
    other.train_on(1)


def test_a_checkpoint_without_a_training_state_is_refused(folder: Path) -> None:
    training = _served(folder).train(1)
    store = _checkpoints(training).store
    store.write(branch="main", step=1, state={"models": {}})
    with pytest.raises(FailedPrecondition, match="the checkpoint has no hyperparameters, loaders, optimizers"):
        _load(training, "main", 1)


SCHEDULERS: dict[str, Callable[[torch.optim.Optimizer], Any]] = {
    "lambda": lambda optimizer: schedules.LambdaLR(optimizer, lambda step: 0.9**step),
    "milestones": lambda optimizer: schedules.MultiStepLR(optimizer, [3, 7]),
    "one cycle": lambda optimizer: schedules.OneCycleLR(optimizer, max_lr=0.1, total_steps=40),
    "cyclic": lambda optimizer: schedules.CyclicLR(optimizer, base_lr=0.01, max_lr=0.1, step_size_up=3),
    "restarts": lambda optimizer: schedules.CosineAnnealingWarmRestarts(optimizer, T_0=4),
    "one after the other": lambda optimizer: schedules.SequentialLR(
        optimizer,
        [schedules.LinearLR(optimizer, total_iters=4), schedules.ExponentialLR(optimizer, 0.9)],
        milestones=[4],
    ),
    "chained": lambda optimizer: schedules.ChainedScheduler(
        [schedules.ConstantLR(optimizer, total_iters=4), schedules.ExponentialLR(optimizer, 0.9)]
    ),
}


@pytest.mark.parametrize("kind", SCHEDULERS)
@pytest.mark.filterwarnings("ignore:The epoch parameter in `scheduler.step")
def test_every_schedule_of_torch_goes_on_bit_identically(folder: Path, kind: str) -> None:
    plain = _scheduled(Training(Run()), kind).watch().train(12)
    stopped = _served(folder, schedule=kind).train(5)
    _checkpoints(stopped).save().result(10)
    _checkpoints(stopped).close()
    restarted = _served(folder, seed=1, schedule=kind).train(7)
    assert restarted.losses == plain.losses[5:]
    assert same(restarted.weights(), plain.weights())


def _scheduled(training: Training, kind: str) -> Training:
    training.scheduler = SCHEDULERS[kind](training.optimizer)
    return training


class _Warming(schedules.LRScheduler):
    """A scheduler as people write them: it keeps the one that follows, and a function."""

    def __init__(self, optimizer: torch.optim.Optimizer, *, kept: Any) -> None:
        self.after = schedules.ExponentialLR(optimizer, 0.9)
        self.kept = kept
        super().__init__(optimizer)

    def get_lr(self) -> list[float | torch.Tensor]:
        return [group["lr"] * 0.8 for group in self.optimizer.param_groups]


def test_a_scheduler_that_keeps_another_and_a_function_goes_on_bit_identically(folder: Path) -> None:
    SCHEDULERS["warming"] = lambda optimizer: _Warming(optimizer, kept=lambda step: step)
    test_every_schedule_of_torch_goes_on_bit_identically(folder, "warming")


def test_a_state_that_cannot_be_saved_is_said_and_the_training_goes_on(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    training = _served(folder, every=2)
    training.scheduler = _Warming(training.optimizer, kept=object())
    training.train(5)
    assert training.run.step == 5
    assert "a checkpoint could not be written: the state '/schedulers/1/kept' is a object" in caplog.text
    with pytest.raises(FailedPrecondition, match="can be neither hashed nor saved"):
        _checkpoints(training).save()


def test_what_the_users_own_code_refuses_is_said_and_the_run_is_unchanged(folder: Path) -> None:
    training = _served(folder).train(3)
    info = _checkpoints(training).save().result(10)
    training.train_on(2)

    def refuse(_: dict[str, Any]) -> None:
        training.scheduler.load_state_dict = load
        raise ValueError("not that one")

    load, training.scheduler.load_state_dict = training.scheduler.load_state_dict, refuse
    before, optimizer = training.weights(), tree.cloned(training.optimizer.state_dict())
    with pytest.raises(FailedPrecondition, match="StepLR does not take the saved state: not that one"):
        _checkpoints(training).load(info, _checkpoints(training).store.read(info))
    assert same(training.weights(), before)
    torch.testing.assert_close(training.optimizer.state_dict(), optimizer, rtol=0, atol=0)
    assert training.run.step == 5


@pytest.mark.parametrize("first", [True, False])
def test_a_scaler_that_is_switched_on_or_off_between_two_starts_is_no_obstacle(folder: Path, first: bool) -> None:
    scaler = torch.amp.GradScaler("cpu", enabled=first)
    stopped = _served(folder).train(3)
    _checkpoints(stopped).save().result(10)
    _checkpoints(stopped).close()
    scaler = torch.amp.GradScaler("cpu", enabled=not first, init_scale=8.0)
    restarted = _served(folder, seed=1).train(1)
    assert restarted.run.step == 4
    assert scaler.get_scale() == (1.0 if first else 8.0)


def test_a_model_whose_layers_have_no_shape_yet_goes_on_where_it_was_saved(folder: Path) -> None:
    def lazy(seed: int) -> Training:
        training = _served(folder, seed=seed)
        training.model = nn.Sequential(nn.LazyLinear(8), nn.LazyBatchNorm1d(), nn.Linear(8, 3))
        training.optimizer.param_groups[0]["params"] = list(training.model.parameters())
        training.run.models["model"] = training.model
        training.run.model_states["model"] = ModelState(training.model)
        return training

    stopped = lazy(0).train(3)
    _checkpoints(stopped).save().result(10)
    stopped.train_on(3)
    _checkpoints(stopped).close()
    restarted = lazy(1).train(3)
    assert restarted.run.step == 6
    assert same(restarted.weights(), stopped.weights())


def test_parameters_that_no_watched_model_has_are_saved_and_audited_too(folder: Path) -> None:
    def with_a_head(seed: int) -> Training:
        training = _served(folder, seed=seed)
        training.head = nn.Parameter(torch.randn(3))  # type: ignore[attr-defined]
        training.optimizer.add_param_group({"params": [training.head], "lr": 0.1})  # type: ignore[attr-defined]
        loss = nn.CrossEntropyLoss()
        training.criterion = lambda outputs, targets: loss(outputs * training.head, targets)  # type: ignore[attr-defined]
        return training

    stopped = with_a_head(0).train(3)
    _checkpoints(stopped).save().result(10)
    stopped.train_on(3)
    _checkpoints(stopped).close()
    restarted = with_a_head(1).train(3)
    assert restarted.losses == stopped.losses[3:]
    head: torch.Tensor = restarted.head  # type: ignore[attr-defined]
    before = head.detach().clone()
    audit = Audit(restarted.run)
    audit.set_mode(AUDIT_MODE)
    with torch.no_grad():
        head.add_(1.0)
    certificate = audit.set_mode(TRAIN_MODE)
    assert certificate is not None
    assert certificate.hash_after == certificate.hash_before
    assert torch.equal(head.detach(), before)
