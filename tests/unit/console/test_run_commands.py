"""What is typed as a value, and what is sent for it."""

from __future__ import annotations

import pytest
from weightslab.console.run_commands import operate_words, value_json
from weightslab_common.errors import InvalidArgument


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("0.01", "0.01"),
        ("1e-3", "1e-3"),
        ("7", "7"),
        ("true", "true"),
        ("True", "true"),
        ("False", "false"),
        ("adam", '"adam"'),
        ("nan", '"nan"'),
        ("[1]", '"[1]"'),
        ('"x"', '"\\"x\\""'),
        ("日本", '"日本"'),
    ],
)
def test_numbers_and_truth_are_themselves_and_the_rest_is_text(text: str, sent: str) -> None:
    assert value_json(text, is_text=False) == sent


@pytest.mark.parametrize(("text", "sent"), [("7", '"7"'), ("true", '"true"')])
def test_where_text_is_wanted_everything_is_text(text: str, sent: str) -> None:
    assert value_json(text, is_text=True) == sent


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("1 2 8", ["1", "2", "8"]),
        ("net 1 2 8", ["net", "1", "2", "8"]),
        ("1 2 [0,5]", ["1", "2", "[0,5]"]),
        ("net 1 2 [0, 5, 7]", ["net", "1", "2", "[0,5,7]"]),
    ],
)
def test_a_list_of_neurons_may_hold_spaces(line: str, words: list[str]) -> None:
    assert operate_words(line.split()) == words


@pytest.mark.parametrize("line", ["1 2", "a b 1 2 8", "[0, 1] 2 3"])
def test_too_few_and_too_many_words_are_answered_with_the_usage(line: str) -> None:
    with pytest.raises(InvalidArgument, match="usage: operate"):
        operate_words(line.split())
