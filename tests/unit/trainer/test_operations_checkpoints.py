"""Checkpoints of models whose neurons were changed, and the command that changes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from weightslab.branches import BranchTree
from weightslab.checkpointing import Checkpointing
from weightslab.checkpoints import CheckpointStore
from weightslab.operations import ModelState, Operation, Request, operate
from weightslab.retention import Retention
from weightslab.run import Run
from weightslab_common.errors import FailedPrecondition, InvalidArgument
from weightslab_proto.weightslab.v1 import (
    DescribeModelRequest,
    DescribeModelResponse,
    ModelOperation,
    OperateModelRequest,
    OperateModelResponse,
)

from tests.unit.trainer.peers import Peer
from tests.unit.trainer.runs import Training
from tests.unit.trainer.served import Script


class Saved:
    """A training with checkpoints whose model can be operated on."""

    def __init__(self, folder: Path, *, hidden: int = 8, restore: bool = True) -> None:
        self.training = Training(Run())
        if hidden != 8:
            self.training.model = nn.Sequential(
                nn.Linear(4, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Dropout(0.5), nn.Linear(hidden, 3)
            )
            self.training.optimizer = torch.optim.SGD(self.training.model.parameters(), lr=0.05, momentum=0.9)
            self.training.scheduler = torch.optim.lr_scheduler.StepLR(self.training.optimizer, step_size=5)
        run = self.training.run
        self.state = run.model_states["model"] = ModelState(self.training.model)
        self.checkpoints = Checkpointing(
            run,
            store=CheckpointStore(folder),
            branches=BranchTree(folder),
            every=0,
            retention=Retention(keep_last=100),
            restore=restore,
        )
        run.before_batch = self.checkpoints.before_batch
        self.training.watch()

    def do(self, operation: Operation, *neurons: int, count: int = 0) -> None:
        operate(self.training.model, self.state, Request(operation, 1, count=count, neurons=neurons), seed=1)

    def save(self) -> None:
        self.checkpoints.save().result(10)

    def load(self, step: int) -> None:
        info = self.checkpoints.store.at_or_before("main", step)
        self.checkpoints.load(info, self.checkpoints.store.read(info))

    def parameters(self) -> dict[str, torch.Tensor]:
        return {name: value.clone() for name, value in self.training.model.state_dict().items()}


def test_a_checkpoint_from_before_an_operation_takes_it_back(tmp_path: Path) -> None:
    saved = Saved(tmp_path)
    saved.training.train(3)
    saved.save()
    before = saved.parameters()
    saved.do(Operation.ADD, count=4)
    saved.do(Operation.FREEZE, 0)
    saved.training.train_on(2)
    saved.save()
    after = saved.parameters()
    saved.load(3)
    torch.testing.assert_close(saved.parameters(), before, rtol=0, atol=0)
    assert saved.state.frozen.rows() == {}
    saved.load(5)
    torch.testing.assert_close(saved.parameters(), after, rtol=0, atol=0)
    assert saved.state.frozen.rows()["0.weight"] == (0, [0])
    assert saved.training.model[0].out_features == 12


def test_a_restarted_script_goes_on_with_the_changed_model(tmp_path: Path) -> None:
    first = Saved(tmp_path)
    first.training.train(3)
    first.do(Operation.PRUNE, 1, 5)
    first.training.train_on(2)
    first.save()
    expected = first.parameters()
    first.checkpoints.close()
    second = Saved(tmp_path)
    second.training.train(1)
    assert second.training.run.step == 6
    assert {name: value.shape for name, value in second.parameters().items()} == {
        name: value.shape for name, value in expected.items()
    }
    (weight, *_) = second.training.model.parameters()
    momentum = second.training.optimizer.state[weight]["momentum_buffer"]
    assert momentum.shape == (6, 4)


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    first = Saved(tmp_path)
    first.training.train(3)
    first.save()
    first.checkpoints.close()
    other = Saved(tmp_path, hidden=10, restore=False)
    other.training.train(1)
    before = other.parameters()
    with pytest.raises(FailedPrecondition, match=r"0\.weight was saved as .* \(8, 4\), this run has .* \(10, 4\)"):
        other.load(3)
    torch.testing.assert_close(other.parameters(), before, rtol=0, atol=0)


async def test_the_command_changes_the_model_of_a_running_script(script: Callable[..., Script], peer: Peer) -> None:
    script().start()
    await peer.begun()
    request = OperateModelRequest(operation=ModelOperation.ADD, layer_id=1, count=2)
    answer = await peer.ask("operate", request, OperateModelResponse)
    assert answer.message.startswith("0 has 10 neurons now, it had 8")
    described = await peer.ask("describe_model", DescribeModelRequest(), DescribeModelResponse)
    assert "weight[10×4] bias[10]" in described.tree
    status = await peer.status_when(lambda s: s.models[0].parameter_count == answer.parameter_count, what="the count")
    await peer.status_when(lambda s: s.step > status.step + 2, what="the run goes on")
    with pytest.raises(InvalidArgument, match="operation is missing"):
        await peer.ask("operate", OperateModelRequest(layer_id=1), OperateModelResponse)
