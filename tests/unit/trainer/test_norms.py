"""Norms of layers: what a person computes by hand, on request only, and without a trace in the training."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
import weightslab as wl
from torch import nn
from weightslab.audit import Audit
from weightslab.fold import Fold
from weightslab.norms import LayerNorms
from weightslab.operations import ModelState, Operation, Request, operate
from weightslab.records import AUDIT_MODE, TRAIN_MODE
from weightslab.run import Run
from weightslab_common.columns import F64, I64, unpack
from weightslab_common.errors import InvalidArgument

from tests.unit.trainer.peers import Peer
from tests.unit.trainer.runs import Training, same
from tests.unit.trainer.served import Script

ALL = ("gradient", "weight", "activation")


def _measured(run: Run, *, mode: int = TRAIN_MODE) -> dict[str, dict[int, float]]:
    """Values by signal and step, as they are published."""
    fold = Fold(run.ring.take())
    found: dict[str, dict[int, float]] = {}
    for batch in fold.signal_batches():
        for column in batch.columns if int(batch.mode) == mode else ():
            points = zip(unpack(column.steps, I64).tolist(), unpack(column.values, F64).tolist(), strict=True)
            found.setdefault(column.signal, {}).update(points)
    return found


def _training(**options: Any) -> Training:
    training = Training(Run())
    norms = LayerNorms(training.run, training.model, name="model", **{"kinds": ALL, "every": 1, **options})
    training.run.norms.append(norms)
    return training.watch()


def test_norms_are_what_a_person_computes() -> None:
    training = _training()
    layer: Any = training.model[0]
    outputs: list[torch.Tensor] = []
    layer.register_forward_hook(lambda _, __, output: outputs.append(output.detach().clone()))
    before = [parameter.detach().clone() for parameter in layer.parameters()]
    training.train(1)
    gradients = [parameter.grad for parameter in layer.parameters()]
    found = _measured(training.run)
    for kind, tensors in (("gradient", gradients), ("weight", before)):
        expected = math.sqrt(sum(float((tensor**2).sum()) for tensor in tensors))
        assert found[f"{kind}_norm/0"][0] == pytest.approx(expected, rel=1e-5)
    assert found["activation_norm/0"][0] == pytest.approx(float(outputs[0].norm(dim=1).mean()), rel=1e-5)
    # The layers that have parameters, and no other.
    assert {name for name in found if name.startswith("gradient_norm")} == {f"gradient_norm/{n}" for n in (0, 1, 4)}


def test_measuring_leaves_the_training_as_it_is() -> None:
    plain, measured = Training(Run()).watch().train(9), _training().train(9)
    assert measured.losses == plain.losses
    assert same(measured.weights(), plain.weights())


def test_nothing_is_measured_unless_it_is_asked_for() -> None:
    training = _training(kinds=("weight",), every=3).train(8)
    found = _measured(training.run)
    assert {name for name in found if "norm" in name} == {f"weight_norm/{n}" for n in (0, 1, 4)}
    assert list(found["weight_norm/0"]) == [0, 3, 6]


def test_a_step_of_several_forwards_has_one_point_and_evaluation_has_none() -> None:
    run = Run()
    model = nn.Linear(2, 2)
    norms = LayerNorms(run, model, name="model", kinds=["activation"], every=1)
    seen = [model(torch.full((3, 2), float(scale))).detach() for scale in (1, 2)]
    model.eval()
    model(torch.full((3, 2), 9.0))
    norms.measure()
    expected = sum(float(output.norm(dim=1).mean()) for output in seen) / 2
    assert _measured(run)["activation_norm/model"] == {0: pytest.approx(expected, rel=1e-5)}


def test_values_of_an_audit_are_marked_as_such() -> None:
    training = _training().train(2)
    audit = Audit(training.run)
    audit.set_mode(AUDIT_MODE)
    training.train_on(1)
    audit.set_mode(TRAIN_MODE)
    records = _measured(training.run, mode=AUDIT_MODE)
    assert list(records["gradient_norm/0"]) == [2]


def test_a_copy_of_the_model_is_not_measured() -> None:
    run = Run()
    model = nn.Linear(2, 2)
    norms = LayerNorms(run, model, name="model", kinds=["activation"], every=1)
    copy.deepcopy(model)(torch.ones(1, 2))
    pickle.loads(pickle.dumps(model))(torch.ones(1, 2))
    norms.measure()
    assert _measured(run) == {}


def test_what_cannot_be_measured_is_named() -> None:
    with pytest.raises(InvalidArgument, match="there are no norms 'momentum'; give a list of: activation, gradient"):
        wl.watch_model(nn.Linear(1, 1), norms=["momentum"])
    with pytest.raises(InvalidArgument, match="every 1 or more steps, not every 0"):
        wl.watch_model(nn.Linear(1, 1), norms=["weight"], norms_every=0)


async def test_a_served_run_publishes_them_as_curves(script: Callable[..., Script], peer: Peer) -> None:
    running = script(norms=["gradient", "activation"]).start()
    await peer.begun()
    running.end()
    for signal in ("gradient_norm/0", "activation_norm/2"):
        points = await peer.points(signal)
        assert [step for _, _, step, _ in points[:4]] == [0, 1, 2, 3]
        # All of a batch may be beyond what a ReLU lets through.
        assert all(value >= 0 for *_, value in points)
        assert any(value > 0 for *_, value in points)


def test_an_operation_on_a_measured_model_leaves_no_value_of_its_own_and_measuring_goes_on() -> None:
    run = Run()
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    state = ModelState(model)
    norms = LayerNorms(run, model, name="model", kinds=ALL, every=1)
    model(torch.randn(5, 4)).sum().backward()
    norms.measure()
    _measured(run)
    operate(model, state, Request(Operation.ADD, 1, count=2), seed=0)
    norms.measure()
    assert not any(name.startswith("activation_norm") for name in _measured(run))
    model(torch.randn(5, 4)).sum().backward()
    norms.measure()
    assert "activation_norm/2" in _measured(run)
