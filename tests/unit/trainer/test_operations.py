"""Operations on models of all kinds: what is promised holds, and what cannot be done is refused and changes nothing."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from weightslab.architecture import describe
from weightslab.norms import LayerNorms
from weightslab.operations import ModelState, Operation, Request, operate
from weightslab.run import Run
from weightslab_common.errors import FailedPrecondition, InvalidArgument


class Watched:
    """A model that ran one step, and the optimizer that took it."""

    def __init__(
        self,
        model: nn.Module,
        *shape: int,
        optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.Adam,
    ) -> None:
        self.model = model
        self.state = ModelState(model)
        self.optimizer = optimizer(model.parameters(), lr=0.01)
        self.inputs = torch.rand(*shape, generator=torch.Generator().manual_seed(3))
        self.step()

    def step(self) -> torch.Tensor:
        self.optimizer.zero_grad()
        loss: torch.Tensor = self.model(self.inputs).square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return loss

    def outputs(self) -> torch.Tensor:
        self.model.eval()
        with torch.no_grad():
            outputs: torch.Tensor = self.model(self.inputs)
        self.model.train()
        return outputs

    def layer_id(self, path: str) -> int:
        return [name for name, _ in self.model.named_modules()].index(path)

    def do(self, operation: Operation, path: str, *neurons: int, count: int = 0) -> str:
        request = Request(operation, self.layer_id(path), count=count, neurons=neurons)
        return operate(self.model, self.state, request, seed=5)

    def everything(self) -> dict[str, Any]:
        return copy.deepcopy({"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()})


class Branching(nn.Module):
    """Residual, depthwise, two branches that are concatenated, and a flattened end."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.stem_norm = nn.BatchNorm2d(8)
        self.inner = nn.Conv2d(8, 8, 3, padding=1)
        self.inner_norm = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 16, 3, padding=1, groups=8)
        self.left = nn.Conv2d(16, 6, 1)
        self.right = nn.Conv2d(8, 5, 1)
        self.hidden = nn.Linear(11 * 4, 7)
        self.head = nn.Linear(7, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        stem = torch.relu(self.stem_norm(self.stem(images)))
        joined = torch.relu(stem + self.inner_norm(self.inner(stem)))
        both = torch.cat([self.left(self.depthwise(joined)), self.right(joined)], 1)
        flat = functional.max_pool2d(both, 4).view(images.size(0), -1)
        outputs: torch.Tensor = self.head(torch.relu(self.hidden(flat)))
        return outputs


def _kinds() -> dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]]:
    return {
        "linear": (lambda: nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3)), (4, 5)),
        "conv1d": (lambda: _convolutions(nn.Conv1d, nn.BatchNorm1d, nn.AdaptiveAvgPool1d), (4, 2, 9)),
        "conv2d": (lambda: _convolutions(nn.Conv2d, nn.BatchNorm2d, nn.AdaptiveAvgPool2d), (4, 2, 6, 6)),
        "conv3d": (lambda: _convolutions(nn.Conv3d, nn.BatchNorm3d, nn.AdaptiveAvgPool3d), (4, 2, 4, 4, 4)),
    }


def _convolutions(conv: Any, norm: Any, pool: Any) -> nn.Module:
    return nn.Sequential(conv(2, 6, 3, padding=1), norm(6), nn.ReLU(), pool(1), nn.Flatten(), nn.Linear(6, 3))


@pytest.mark.parametrize("kind", _kinds())
def test_added_neurons_change_no_output_and_then_learn(kind: str) -> None:
    make, shape = _kinds()[kind]
    watched = Watched(make(), *shape)
    before = watched.outputs()
    assert watched.do(Operation.ADD, "0", count=3).startswith("0 has 9 neurons now, it had 6")
    torch.testing.assert_close(watched.outputs(), before, rtol=0, atol=1e-6)
    last = list(watched.model.children())[-1]
    assert isinstance(last, nn.Linear)
    watched.step()
    assert (last.weight[:, 6:].abs().sum(0) > 0).all()


@pytest.mark.parametrize("kind", _kinds())
def test_pruning_a_dead_neuron_changes_no_output(kind: str) -> None:
    make, shape = _kinds()[kind]
    watched = Watched(make(), *shape)
    last = list(watched.model.children())[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.weight[:, [1, 4]] = 0
    before = watched.outputs()
    watched.do(Operation.PRUNE, "0", 1, 4)
    torch.testing.assert_close(watched.outputs(), before, rtol=0, atol=1e-6)
    assert last.in_features == 4
    watched.step()


def test_a_residual_and_branching_model_keeps_its_outputs_when_any_of_its_layers_grows() -> None:
    watched = Watched(Branching(), 6, 3, 8, 8)
    for path in ("stem", "inner_norm", "depthwise", "left", "right", "hidden"):
        before = watched.outputs()
        watched.do(Operation.ADD, path, count=2)
        torch.testing.assert_close(watched.outputs(), before, rtol=0, atol=1e-6)
        watched.step()


def test_a_pruned_residual_model_is_the_model_with_these_channels_silenced() -> None:
    watched = Watched(Branching(), 6, 3, 8, 8)
    silenced = copy.deepcopy(watched.model)
    assert isinstance(silenced, Branching)
    with torch.no_grad():
        for reader in (silenced.inner, silenced.right):
            reader.weight[:, [0, 5]] = 0
        # Of channel c the depthwise layer makes 2c and 2c + 1.
        silenced.left.weight[:, [0, 1, 10, 11]] = 0
        silenced.eval()
        expected = silenced(watched.inputs)
    told = watched.do(Operation.PRUNE, "stem", 0, 5)
    torch.testing.assert_close(watched.outputs(), expected, rtol=0, atol=1e-5)
    assert told == (
        "stem has 6 neurons now, it had 8; depthwise, inner, inner_norm, left, right, stem_norm changed with it"
    )
    assert watched.model.get_submodule("depthwise").groups == 6


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.9, nesterov=True),
        torch.optim.Adam,
        lambda p, lr: torch.optim.AdamW(p, lr=lr, amsgrad=True),
        torch.optim.RMSprop,
        torch.optim.Adagrad,
        torch.optim.NAdam,
    ],
    ids=["sgd", "adam", "adamw", "rmsprop", "adagrad", "nadam"],
)
def test_the_optimizer_keeps_what_it_knew_of_the_neurons_that_stay(optimizer: Any) -> None:
    watched = Watched(nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3)), 4, 5, optimizer=optimizer)
    first, last = watched.model[0], watched.model[2]  # type: ignore[index]
    held = {
        name: (value.clone(), watched.optimizer.state[last.weight][name].clone())
        for name, value in watched.optimizer.state[first.weight].items()
        if value.shape == first.weight.shape
    }
    assert held
    watched.do(Operation.PRUNE, "0", 2)
    watched.do(Operation.ADD, "0", count=4)
    kept = [0, 1, 3, 4, 5]
    for name, (before_first, before_last) in held.items():
        assert torch.equal(watched.optimizer.state[first.weight][name][:5], before_first[kept])
        assert torch.equal(watched.optimizer.state[last.weight][name][:, :5], before_last[:, kept])
        assert watched.optimizer.state[first.weight][name].shape == (9, 5)
    watched.step()


def test_a_loss_that_is_still_alive_does_not_hold_the_old_shape() -> None:
    watched = Watched(nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3)), 4, 5)
    alive = watched.model(watched.inputs).sum()
    watched.do(Operation.ADD, "0", count=2)
    watched.step()
    assert alive.requires_grad


def test_gradients_that_are_being_accumulated_stay() -> None:
    watched = Watched(nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3)), 4, 5)
    gradient = watched.model[0].weight.grad.clone()  # type: ignore[index]
    watched.do(Operation.ADD, "0", count=1)
    assert torch.equal(watched.model[0].weight.grad[:6], gradient)  # type: ignore[index]
    assert not watched.model[0].weight.grad[6:].any()  # type: ignore[index]


def test_frozen_neurons_do_not_move_while_the_others_do() -> None:
    watched = Watched(
        nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3)),
        *(4, 5),
        optimizer=lambda p, lr: torch.optim.AdamW(p, lr=lr, weight_decay=0.1),
    )
    assert watched.do(Operation.FREEZE, "0", 1, 4) == "2 of 6 neurons of 0 are frozen"
    before = watched.model[0].weight.detach().clone()  # type: ignore[index]
    watched.step()
    moved = (watched.model[0].weight != before).any(1).tolist()  # type: ignore[index]
    assert moved == [True, False, True, True, False, True]
    # Neuron 1 goes, 4 becomes 3 and stays frozen.
    watched.do(Operation.PRUNE, "0", 1)
    before = watched.model[0].weight.detach().clone()  # type: ignore[index]
    watched.step()
    assert (watched.model[0].weight != before).any(1).tolist() == [True, True, True, False, True]  # type: ignore[index]
    watched.do(Operation.THAW, "0", 3)
    watched.step()
    assert (watched.model[0].weight != before).any(1).all()  # type: ignore[index]


def test_a_layer_is_frozen_and_trained_again_as_a_whole() -> None:
    watched = Watched(nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3)), 4, 5)
    watched.do(Operation.FREEZE, "0")
    before = watched.model[0].weight.detach().clone()  # type: ignore[index]
    watched.step()
    assert torch.equal(watched.model[0].weight, before)  # type: ignore[index]
    with pytest.raises(FailedPrecondition, match="nothing would be left to train without 2"):
        watched.do(Operation.FREEZE, "2")
    watched.do(Operation.THAW, "0")
    watched.step()
    assert not torch.equal(watched.model[0].weight, before)  # type: ignore[index]


def test_reset_lets_the_chosen_neurons_begin_anew_and_leaves_the_others() -> None:
    watched = Watched(nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3)), 4, 5)
    layer = watched.model[0]  # type: ignore[index]
    before, stream = layer.weight.detach().clone(), torch.get_rng_state()
    assert watched.do(Operation.RESET, "0", 2) == "1 of 6 neurons of 0 begin anew"
    assert (layer.weight != before).any(1).tolist() == [False, False, True, False, False, False]
    assert not watched.optimizer.state[layer.weight]["exp_avg"][2].any()
    assert torch.equal(torch.get_rng_state(), stream)


class FixedView(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3, padding=1)
        self.head = nn.Linear(8 * 16, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.head(self.conv(images).view(-1, 8 * 16))
        return outputs


class Through(nn.Module):
    """A linear layer, something in between, and another."""

    def __init__(self, between: Callable[[torch.Tensor], torch.Tensor], width: int = 8) -> None:
        super().__init__()
        self.between = between
        self.conv = nn.Linear(6, 8)
        self.head = nn.Linear(width, 4)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.head(self.between(self.conv(inputs)))
        return outputs


def _branch_on_values(hidden: torch.Tensor) -> torch.Tensor:
    return hidden if hidden.sum() > 0 else -hidden


@pytest.mark.parametrize(
    ("model", "shape", "reason"),
    [
        (FixedView(), (16, 1, 4, 4), "view"),
        (Through(lambda hidden: hidden.softmax(-1)), (4, 6), "conv cannot change: it goes into softmax"),
        (Through(lambda hidden: hidden[:, ::2], 4), (4, 6), "conv|head"),
        (Through(lambda hidden: hidden + torch.ones(8)), (4, 6), "conv cannot change: add joins it"),
        (Through(lambda hidden: hidden.log()), (4, 6), "conv cannot change: it goes into log"),
        (Through(lambda hidden: hidden.mean(-1, keepdim=True).repeat(1, 8)), (4, 6), "goes into mean"),
        (Through(nn.LayerNorm(8)), (4, 6), "goes into between .LayerNorm."),
        (Through(_branch_on_values), (4, 6), "forward depends on the values of tensors"),
    ],
    ids=["fixed-view", "softmax", "slice", "fixed-width", "log", "mean", "layer-norm", "control-flow"],
)
def test_what_cannot_be_done_is_refused_and_changes_nothing(
    model: nn.Module, shape: tuple[int, ...], reason: str
) -> None:
    watched = Watched(copy.deepcopy(model), *shape)
    before = watched.everything()
    for neurons in ((3,), (0, 3)):
        with pytest.raises(FailedPrecondition, match=reason):
            watched.do(Operation.PRUNE, "conv", *neurons)
    torch.testing.assert_close(watched.everything(), before, rtol=0, atol=0, equal_nan=True)


def test_requests_that_make_no_sense_say_what_is_wrong() -> None:
    watched = Watched(nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3)), 4, 5)
    for operation, path, neurons, count, reason in (
        (Operation.PRUNE, "0", (6,), 0, "layer 0 has no neuron 6; it has 0 to 5"),
        (Operation.PRUNE, "0", (), 0, "say which neurons of 0 to prune"),
        (Operation.PRUNE, "0", (), 7, "layer 0 has 6 neurons, not 7"),
        (Operation.ADD, "0", (), 0, "say how many neurons to add to 0"),
        (Operation.ADD, "1", (), 2, "layer 1 is a ReLU"),
    ):
        with pytest.raises(InvalidArgument, match=reason):
            watched.do(operation, path, *neurons, count=count)
    with pytest.raises(InvalidArgument, match="there is no layer 9; plot_model shows the layers 0 to 3"):
        operate(watched.model, watched.state, Request(Operation.ADD, 9, count=1), seed=0)
    with pytest.raises(FailedPrecondition, match="0: no neuron would remain in 0"):
        watched.do(Operation.PRUNE, "0", *range(6))
    with pytest.raises(FailedPrecondition, match="layer 2 cannot change: it is an output of the model"):
        watched.do(Operation.ADD, "2", count=1)


def test_a_model_that_was_not_called_yet_says_so() -> None:
    model = nn.Sequential(nn.Linear(5, 6), nn.Linear(6, 3))
    with pytest.raises(FailedPrecondition, match="let it run one batch first"):
        operate(model, ModelState(model), Request(Operation.ADD, 1, count=1), seed=0)


def test_a_number_prunes_the_neurons_of_the_smallest_weights() -> None:
    watched = Watched(nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)), 4, 5)
    with torch.no_grad():
        watched.model[0].weight[2] = 0.001  # type: ignore[index]
    kept = watched.model[0].weight[[0, 1, 3]].clone()  # type: ignore[index]
    watched.do(Operation.PRUNE, "0", count=1)
    assert torch.equal(watched.model[0].weight, kept)  # type: ignore[index]


def test_the_tree_shows_ids_shapes_counts_and_what_is_frozen() -> None:
    watched = Watched(nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3)), 4, 5)
    watched.do(Operation.FREEZE, "2")
    watched.do(Operation.FREEZE, "0", 1)
    lines = describe(watched.model, watched.state).splitlines()
    assert lines[1].split("  ", 1)[0].strip() == ""
    assert "→ 4×6  weight[6×5] bias[6]  36 parameters  1 neurons frozen" in lines[1]
    assert "→ 4×3  weight[3×6] bias[3]  21 parameters  frozen" in lines[3]
    assert lines[-1].strip() == "57 parameters in all, 36 of them trained"


def test_an_optimizer_whose_state_cannot_be_told_apart_by_neurons_is_refused() -> None:
    model = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3))
    watched = Watched(model, 4, 5, optimizer=torch.optim.Adafactor)
    before = watched.everything()
    for operation, neurons, count in ((Operation.ADD, (), 1), (Operation.PRUNE, (1,), 0), (Operation.RESET, (1,), 0)):
        with pytest.raises(FailedPrecondition, match="Adafactor keeps 'row_var'"):
            watched.do(operation, "0", *neurons, count=count)
    torch.testing.assert_close(watched.everything(), before, rtol=0, atol=0)


# torch warns of itself when its compiler is imported.
@pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")
def test_models_that_are_compiled_or_spread_over_devices_are_refused() -> None:
    model = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3))
    spread = nn.DataParallel(model)
    with pytest.raises(FailedPrecondition, match="distributed over processes or devices"):
        operate(spread, ModelState(spread), Request(Operation.ADD, 2, count=1), seed=0)
    model.compile()
    with pytest.raises(FailedPrecondition, match="a compiled model has the sizes of its layers built in"):
        operate(model, ModelState(model), Request(Operation.ADD, 1, count=1), seed=0)


def test_watching_leaves_no_hook_behind_after_the_first_forward() -> None:
    watched = Watched(Branching(), 6, 3, 8, 8)
    for layer in watched.model.modules():
        assert not layer._forward_hooks
        assert not layer._forward_pre_hooks


@pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")
@pytest.mark.parametrize("part", ["whole", "layer", "in place", "afterwards"])
def test_a_compiled_model_is_compiled_once_and_gives_what_it_gave(part: str) -> None:
    compiled: list[torch.fx.GraphModule] = []

    def backend(graph: torch.fx.GraphModule, _: object) -> Callable[..., Any]:
        compiled.append(graph)
        return graph.forward

    torch.compiler.reset()
    inner = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3))
    model: Any = inner
    if part in ("whole", "layer"):
        model = torch.compile(inner, backend=backend)
    if part == "layer":
        model = nn.Sequential(model, nn.Identity())
    elif part == "in place":
        inner.compile(backend=backend)
    run = Run()
    LayerNorms(run, model, name="model", kinds=["activation"], every=1)
    ModelState(model)
    if part == "afterwards":
        model = torch.compile(inner, backend=backend)
    inputs = torch.randn(4, 5)
    expected = inner[2](torch.relu(inner[0](inputs)))
    for run.step in range(4):
        torch.testing.assert_close(model(inputs), expected)
    assert len(compiled) == 1


def test_replicas_of_layers_as_data_parallel_makes_them_share_the_hooks() -> None:
    class Replicating(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(5, 3)

        def forward(self, inputs: torch.Tensor) -> Any:
            replica = self.inner._replicate_for_data_parallel()  # type: ignore[no-untyped-call]
            replica._parameters = self.inner._parameters
            return replica(inputs)

    model = Replicating()
    memory = ModelState(model).memory
    model(torch.randn(4, 5))
    assert memory.output_shapes == {"": "4×3"}
