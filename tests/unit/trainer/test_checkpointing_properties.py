"""However people save, load, branch and restart: the tree of branches, what is kept and what is restored are right."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from weightslab.branches import BranchTree
from weightslab.checkpointing import Checkpointing
from weightslab.checkpoints import CheckpointInfo, CheckpointStore
from weightslab.retention import Retention
from weightslab.run import Run

from tests.unit.trainer.runs import Training, same

Weights = dict[str, torch.Tensor]
# Memory, where there is such a folder: the machine saves hundreds of times, and each save waits for the disk.
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
KEEP_LAST, KEEP_EVERY = 2, 5


class BranchMachine(RuleBasedStateMachine):
    """A run, its folder, and what a careful person would note down of both."""

    @initialize()
    def start(self) -> None:
        self.folder = Path(tempfile.mkdtemp(dir=MEMORY))
        # (branch, parent branch, parent step), and what was saved of each branch in the order of saving.
        self.tree = [("main", "", 0)]
        self.kept: dict[tuple[str, int], Weights] = {}
        self.order: list[tuple[str, int]] = []
        self.milestones: dict[str, dict[int, int]] = {}
        self.starts = 0
        # What a person loaded last is kept as long as the process lives.
        self.asked: tuple[str, int] | None = None
        self._start()
        self.training.train(1)
        self.branch, self.step = "main", 1
        self.loaded: tuple[str, int] | None = None

    @rule(count=st.integers(1, 4))
    def train(self, count: int) -> None:
        if self.loaded is not None:
            self.training.run.gate.resume()
            self._branch_off(self.loaded)
        self.training.train_on(count)
        self.step += count

    @precondition(lambda self: self.loaded is None)
    @rule()
    def save(self) -> None:
        self.checkpoints.save().result(60)
        place = (self.branch, self.step)
        self.kept[place] = self.training.weights()
        self.order = [*(other for other in self.order if other != place), place]
        self.milestones.setdefault(self.branch, {}).setdefault(self.step // KEEP_EVERY, self.step)
        self._forget()

    @precondition(lambda self: self.kept)
    @rule(pick=st.integers(0, 50), later=st.integers(0, 3))
    def load(self, pick: int, later: int) -> None:
        branch, step = sorted(self.kept)[pick % len(self.kept)]
        expected = max(saved for other, saved in self.kept if other == branch and saved <= step + later)
        info, state = self.checkpoints.read(branch, step + later)
        self.checkpoints.load(info, state)
        assert (info.branch, info.step) == (branch, expected)
        assert same(self.training.weights(), self.kept[branch, expected])
        self.loaded = self.asked = branch, expected
        self.step = expected

    @rule(in_order=st.booleans())
    def restart(self, in_order: bool) -> None:
        if in_order:
            self.checkpoints.close()
        ended = {self.branch: self.step} if in_order and self.loaded is None else {}
        self._start()
        self.training.train(1)
        if not self.order:
            self._begin(parent="", step=0)
        else:
            newest = self.order[-1]
            if ended.get(newest[0]) == newest[1]:
                self.branch, self.step = newest
            else:
                self._branch_off(newest)
        self.step += 1

    @invariant()
    def what_is_on_disk_is_what_was_noted(self) -> None:
        if not hasattr(self, "training"):
            return
        on_disk = [
            (record.branch, record.parent_branch, record.parent_step) for record in BranchTree(self.folder).all()
        ]
        assert on_disk == self.tree
        saved = {(info.branch, info.step) for info in CheckpointStore(self.folder).all()}
        assert saved == set(self.kept)
        assert saved >= {(parent, step) for _, parent, step in self.tree if parent}
        run = self.training.run
        assert run.step == self.step
        assert self.loaded is not None or run.branch == self.branch

    def teardown(self) -> None:
        if hasattr(self, "training"):
            self.checkpoints.close()
            shutil.rmtree(self.folder)

    def _start(self) -> None:
        self.starts += 1
        self.loaded = None
        self.training = Training(Run(), seed=self.starts)
        self.checkpoints = Checkpointing(
            self.training.run,
            store=CheckpointStore(self.folder),
            branches=BranchTree(self.folder),
            every=0,
            retention=Retention(keep_last=KEEP_LAST, keep_every=KEEP_EVERY),
            restore=True,
        )
        self.training.run.before_batch = self.checkpoints.before_batch
        self.training.watch()
        self.asked = None

    def _branch_off(self, parent: tuple[str, int]) -> None:
        self.loaded = None
        self._begin(parent=parent[0], step=parent[1])

    def _begin(self, *, parent: str, step: int) -> None:
        self.branch, self.step = f"b{len(self.tree) + 1}", step
        self.tree.append((self.branch, parent, step))

    def _forget(self) -> None:
        """What retention removes, said in another way than the code says it."""
        parents = {(parent, step) for _, parent, step in self.tree}
        for branch, step in list(self.kept):
            newer = sum(other == branch and saved > step for other, saved in self.kept)
            milestone = self.milestones[branch].get(step // KEEP_EVERY) == step
            if newer >= KEEP_LAST and not milestone and (branch, step) not in parents | {self.asked}:
                del self.kept[branch, step]
                self.order.remove((branch, step))


TestBranchMachine = pytest.mark.timeout(300)(BranchMachine.TestCase)
TestBranchMachine.settings = settings(max_examples=8, stateful_step_count=12, deadline=None)


@given(
    steps=st.lists(st.integers(0, 60), unique=True, max_size=25),
    keep_last=st.integers(1, 5),
    keep_every=st.integers(0, 20),
    pinned=st.sets(st.integers(0, 60), max_size=3),
)
def test_retention_never_removes_what_it_promises_to_keep(
    steps: list[int], keep_last: int, keep_every: int, pinned: set[int]
) -> None:
    retention = Retention(keep_last=keep_last, keep_every=keep_every)
    kept: list[CheckpointInfo] = []
    pins = {("main", step) for step in pinned}
    for number, step in enumerate(sorted(steps)):
        kept.append(CheckpointInfo(created_unix_ms=number, branch="main", step=step, size_bytes=1))
        gone = retention.superfluous(kept, pinned=pins)
        kept = [info for info in kept if info not in gone]
        assert not retention.superfluous(kept, pinned=pins)
    left = [info.step for info in kept]
    assert left[-keep_last:] == sorted(steps)[-keep_last:]
    assert pinned & set(steps) <= set(left)
    firsts = {min(step for step in steps if step // keep_every == span // keep_every) for span in steps if keep_every}
    assert firsts <= set(left)
    assert len(left) <= keep_last + len(firsts) + len(pinned)
