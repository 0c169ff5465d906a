"""State trees come back as they were, and their hash sees everything."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from weightslab import tree
from weightslab_common.errors import FailedPrecondition

STATE: dict[str, Any] = {
    "text": "日本",
    "numbers": [1, -2.5, float("inf"), True, None],
    "tuple": ("MT19937", (1, 2)),
    "by number": {0: {"step": torch.tensor(3.0)}, 1: {}},
    "counter": Counter({5: 2}),
    "odd": {"$tensor": "not one"},
    "array": np.arange(3, dtype=np.uint32),
    "tensors": {"half": torch.ones(2, dtype=torch.bfloat16), "empty": torch.zeros(0), "bits": torch.tensor([True])},
}


def _again(state: Any) -> Any:
    value, tensors = tree.encode(state)
    return tree.decode(json.loads(json.dumps(value)), tensors)


def test_a_tree_comes_back_as_it_was() -> None:
    again = _again(STATE)
    assert again["numbers"] == STATE["numbers"]
    assert again["tuple"] == STATE["tuple"]
    assert again["odd"] == STATE["odd"]
    assert type(again["counter"]) is Counter
    assert again["counter"] == STATE["counter"]
    assert again["by number"][0]["step"] == 3.0
    assert again["array"].dtype == np.uint32
    assert again["tensors"]["half"].dtype == torch.bfloat16
    assert tree.digest(again) == tree.digest(STATE)


def _flip(state: Any) -> None:
    state["tensors"]["half"].view(torch.int16)[0] ^= 1


CHANGES: dict[str, Any] = {
    "one bit of a tensor": _flip,
    "a text": lambda state: state.update(text="日"),
    "a number": lambda state: state["numbers"].__setitem__(1, -2.5000001),
    "an array": lambda state: state["array"].__setitem__(0, 9),
    "a name": lambda state: state["tensors"].update(other=state["tensors"].pop("half")),
    "a shape": lambda state: state["tensors"].update(empty=torch.zeros(0, 2)),
    "a type": lambda state: state["tensors"].update(bits=torch.tensor([1], dtype=torch.uint8)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_hash_sees_every_change(change: str) -> None:
    state = tree.cloned(STATE)
    assert tree.digest(state) == tree.digest(STATE)
    CHANGES[change](state)
    assert tree.digest(state) != tree.digest(STATE)


def test_a_copy_shares_nothing() -> None:
    copy = tree.cloned_to_cpu(STATE)
    copy["tensors"]["half"].zero_()
    copy["array"][0] = 7
    copy["counter"][5] = 0
    assert STATE["tensors"]["half"].tolist() == [1, 1]
    assert STATE["array"][0] == 0
    assert STATE["counter"] == Counter({5: 2})


def test_what_cannot_be_saved_is_named() -> None:
    with pytest.raises(FailedPrecondition, match="'/a/0' is a object"):
        tree.encode({"a": [object()]})
