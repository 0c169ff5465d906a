"""Hyperparameters: typed, validated, requested and applied."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field

import pytest
from weightslab.hyperparameters import Hyperparameters, optimizer_option
from weightslab_common.errors import InvalidArgument, NotFound


@dataclass
class Optimizer:
    lr: float = 0.1


@dataclass(frozen=True)
class Fixed:
    lr: float = 0.1


@dataclass
class Options:
    optimizer: Optimizer = field(default_factory=Optimizer)
    batch_size: int = 8


def _watched() -> tuple[Hyperparameters, dict[str, object]]:
    root: dict[str, object] = {"optimizer": {"lr": 0.1}, "batch_size": 8, "augment": True, "name": "a", "list": [1]}
    watched = Hyperparameters()
    watched.watch(root)
    return watched, root


def test_nested_values_are_named_by_dotted_paths() -> None:
    watched, _ = _watched()
    assert [(state.name, state.type) for state in watched.states()] == [
        ("augment", "bool"),
        ("batch_size", "int"),
        ("name", "str"),
        ("optimizer.lr", "float"),
    ]


def test_a_request_is_shown_until_it_is_applied_and_then_changes_the_users_own_dict() -> None:
    watched, root = _watched()
    value = watched.request("optimizer.lr", "0.01")
    assert (watched.get("optimizer.lr").requested, watched.get("optimizer.lr").applied) == (0.01, 0.1)
    watched.apply("optimizer.lr", value)
    assert root["optimizer"] == {"lr": 0.01}
    assert watched.get("optimizer.lr").requested == 0.01


@pytest.mark.parametrize("root", [Fixed(), {"optimizer": Fixed(), "batch_size": 8}])
def test_a_frozen_dataclass_is_refused_at_once(root: object) -> None:
    watched = Hyperparameters()
    with pytest.raises(InvalidArgument, match=r"lr' belongs to Fixed, a frozen dataclass: .* take `frozen=True` away"):
        watched.watch(root)
    assert watched.states() == []


def test_a_dataclass_is_changed_in_place() -> None:
    watched, options = Hyperparameters(), Options()
    watched.watch(options)
    watched.apply("optimizer.lr", watched.request("optimizer.lr", "1"))
    assert options.optimizer.lr == 1.0
    assert type(options.optimizer.lr) is float


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("optimizer.lr", '"fast"'),
        ("optimizer.lr", "true"),
        ("optimizer.lr", "NaN"),
        ("optimizer.lr", "1e999"),
        ("optimizer.lr", "-0.1"),
        ("optimizer.lr", "not json"),
        ("batch_size", "8.0"),
        ("batch_size", "true"),
        ("batch_size", "0"),
        ("augment", "1"),
        ("name", "3"),
        ("name", "null"),
    ],
)
def test_a_wrong_value_is_refused_and_the_old_one_stays(name: str, value: str) -> None:
    watched, _ = _watched()
    before = watched.get(name)
    with pytest.raises(InvalidArgument, match=name):
        watched.request(name, value)
    assert watched.get(name) == before


def test_an_unknown_name_is_told_what_there_is() -> None:
    watched, _ = _watched()
    with pytest.raises(NotFound, match=r"no hyperparameter 'lr'; there are: augment, batch_size, name, optimizer\.lr"):
        watched.request("lr", "1")


def test_what_is_no_mapping_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="a dict or a dataclass, not list"):
        Hyperparameters().watch([1])
    with pytest.raises(InvalidArgument, match="not Namespace; give its dict, by `vars`"):
        Hyperparameters().watch(argparse.Namespace(lr=0.1))


def test_the_same_name_twice_is_refused() -> None:
    watched, _ = _watched()
    with pytest.raises(InvalidArgument, match="'batch_size' is already watched"):
        watched.watch({"batch_size": 3})


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("lr", "lr"),
        ("learning_rate", "lr"),
        ("optimizer.lr", "lr"),
        ("training.lr", "lr"),
        ("optimizer.momentum", "momentum"),
        ("momentum", None),
        ("optimizer.unknown", None),
    ],
)
def test_names_are_bound_to_options_of_the_optimizer(name: str, option: str | None) -> None:
    assert optimizer_option(name, lambda: {"lr", "momentum"}) == option
