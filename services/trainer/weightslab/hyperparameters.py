"""Hyperparameters that people change while the loop runs: typed, validated, requested and applied."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from weightslab_common.errors import InvalidArgument, NotFound

Value = float | int | bool | str

_TYPES: dict[type, str] = {bool: "bool", int: "int", float: "float", str: "str"}
_LEARNING_RATES = ("lr", "learning_rate")


@dataclass(frozen=True, slots=True)
class HyperparameterState:
    """One hyperparameter, as status tells it."""

    name: str
    requested: Value
    applied: Value

    @property
    def type(self) -> str:
        return _TYPES[type(self.applied)]


class Hyperparameters:
    """Nested mappings and dataclasses, by dotted names. Their values are changed in place, on the training thread."""

    def __init__(self) -> None:
        self._roots: list[Any] = []
        self._requested: dict[str, Value] = {}

    def watch(self, root: Any) -> None:
        """Add a mapping or a dataclass.

        Raises InvalidArgument for anything else, for what could not be changed, or for a name that is taken.
        """
        if not isinstance(root, MutableMapping) and not (is_dataclass(root) and not isinstance(root, type)):
            hint = "; give its dict, by `vars`" if hasattr(root, "__dict__") else ""
            raise InvalidArgument(f"hyperparameters are a dict or a dataclass, not {type(root).__name__}{hint}")
        for name, owner, _ in _leaves(root):
            if _is_frozen(owner):
                raise InvalidArgument(
                    f"hyperparameter {name!r} belongs to {type(owner).__name__}, a frozen dataclass: it could not be "
                    "changed while the loop runs; take `frozen=True` away, or let the loop read a dict"
                )
        double = {name for name, _, _ in _leaves(root)} & {name for name, _, _ in self._all()}
        if double:
            raise InvalidArgument(f"hyperparameter {min(double)!r} is already watched")
        self._roots.append(root)

    def states(self) -> list[HyperparameterState]:
        """Sorted by name."""
        return sorted(
            (
                HyperparameterState(
                    name, requested=self._requested.get(name, _read(owner, key)), applied=_read(owner, key)
                )
                for name, owner, key in self._all()
            ),
            key=lambda state: state.name,
        )

    def applied(self) -> dict[str, Value]:
        """The values that the loop uses, by name."""
        return {state.name: state.applied for state in self.states()}

    def get(self, name: str) -> HyperparameterState:
        """Raises NotFound that lists the names there are."""
        for state in self.states():
            if state.name == name:
                return state
        known = ", ".join(state.name for state in self.states()) or "none is watched"
        raise NotFound(f"there is no hyperparameter {name!r}; there are: {known}")

    def request(self, name: str, value_json: str) -> Value:
        """Note what is asked for and return it as a value of the right type.

        Raises InvalidArgument when the value does not fit; nothing is changed then.
        """
        return self.request_value(name, checked(self.get(name), value_json))

    def request_value(self, name: str, value: Value) -> Value:
        """Note that `value`, which was checked, is asked for."""
        self._requested[name] = value
        return value

    def apply(self, name: str, value: Value) -> None:
        """Make `value` the one that the loop uses. Called on the training thread."""
        for found, owner, key in self._all():
            if found == name:
                _write(owner, key, value)
        # A later request may already stand; it is applied in its turn.
        if self._requested.get(name) == value:
            del self._requested[name]

    def _all(self) -> Iterator[tuple[str, Any, str]]:
        for root in self._roots:
            yield from _leaves(root)


def checked(state: HyperparameterState, value_json: str) -> Value:
    """The value that `value_json` gives, if it may become the value of `state`. Raises InvalidArgument."""
    try:
        value: object = json.loads(value_json, parse_constant=_refuse_constant)
    except ValueError as error:
        raise InvalidArgument(f"{state.name}: {value_json!r} is no JSON value: {error}") from None
    return checked_value(state, value, written=value_json)


def checked_value(state: HyperparameterState, value: object, *, written: str | None = None) -> Value:
    """`value`, if it may become the value of `state`; `written` is how a person wrote it. Raises InvalidArgument."""
    value_json = repr(value) if written is None else written
    if state.type == "float" and type(value) is int:
        value = float(value)
    if not isinstance(value, float | int | bool | str) or type(value) is not type(state.applied):
        raise InvalidArgument(
            f"{state.name} is of type {state.type} and stays {state.applied!r}: {value_json} is no {state.type}"
        )
    last = state.name.rpartition(".")[2]
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidArgument(f"{state.name} stays {state.applied!r}: {value_json} is not finite")
    if last in _LEARNING_RATES and isinstance(value, float | int) and value < 0:
        raise InvalidArgument(f"{state.name} stays {state.applied!r}: a learning rate is not negative, {value!r} is")
    if last == "batch_size" and isinstance(value, int) and value < 1:
        raise InvalidArgument(f"{state.name} stays {state.applied!r}: a batch has at least 1 sample, not {value!r}")
    return value


def optimizer_option(name: str, options: Callable[[], set[str]]) -> str | None:
    """The option of an optimizer that a hyperparameter of this name sets, for example `lr` for `optimizer.lr`."""
    path = name.split(".")
    last = "lr" if path[-1] in _LEARNING_RATES else path[-1]
    if last == "lr" or (len(path) > 1 and path[-2].startswith("optim")):
        return last if last in options() else None
    return None


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is not allowed")


def _leaves(owner: Any, prefix: str = "") -> Iterator[tuple[str, Any, str]]:
    keys = [field.name for field in fields(owner)] if is_dataclass(owner) else list(owner)
    for key in keys:
        if not isinstance(key, str):
            continue
        value = _read(owner, key)
        if isinstance(value, MutableMapping) or is_dataclass(value):
            yield from _leaves(value, f"{prefix}{key}.")
        elif type(value) in _TYPES:
            yield f"{prefix}{key}", owner, key


def _is_frozen(owner: Any) -> bool:
    parameters = getattr(owner, "__dataclass_params__", None)
    return parameters is not None and bool(parameters.frozen)


def _read(owner: Any, key: str) -> Any:
    return owner[key] if isinstance(owner, MutableMapping) else getattr(owner, key)


def _write(owner: Any, key: str, value: Value) -> None:
    if isinstance(owner, MutableMapping):
        owner[key] = value
    else:
        setattr(owner, key, value)
