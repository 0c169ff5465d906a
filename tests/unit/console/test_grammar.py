"""Lines become commands by the rules of a shell's quoting, and nothing else."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st
from weightslab.console.commands import BY_NAME, COMMANDS
from weightslab.console.grammar import Arguments, Syntax, arguments, decode, integer, split, unknown_command
from weightslab_common.errors import InvalidArgument

SYNTAX = Syntax(
    name="cut",
    usage="<uid> [--loader name] [--dry]",
    summary="Cut.",
    example="cut 1",
    flags=frozenset({"--dry"}),
    options=frozenset({"--loader"}),
    min_words=1,
    max_words=3,
)


def test_words_are_quoted_as_in_a_shell() -> None:
    assert split("""add_tag 'a b' "it's" c\\ d 日本""") == ["add_tag", "a b", "it's", "c d", "日本"]


def test_an_open_quote_is_explained() -> None:
    with pytest.raises(InvalidArgument, match="quoting does not close"):
        split("add_tag 'a b")


@given(st.lists(st.text(st.characters(exclude_categories=["Cc", "Cs"])), max_size=6))
def test_whatever_was_quoted_comes_back_verbatim(words: list[str]) -> None:
    assert split(shlex.join(words)) == words


@given(st.binary(max_size=200))
def test_bytes_are_text_or_refused(line: bytes) -> None:
    try:
        text = decode(line)
    except InvalidArgument:
        return
    assert text.encode() == line.rstrip(b"\r\n")
    assert all(character == "\t" or ord(character) >= 32 for character in text)


def test_options_stand_anywhere_and_take_their_value_either_way() -> None:
    expected = Arguments(["1", "2"], frozenset({"--dry"}), {"--loader": "train"})
    assert arguments(SYNTAX, ["1", "--loader", "train", "2", "--dry"]) == expected
    assert arguments(SYNTAX, ["--dry", "--loader=train", "1", "2"]) == expected


def test_after_two_dashes_everything_is_a_word() -> None:
    assert arguments(SYNTAX, ["--dry", "--", "--loader", "-1"]).words == ["--loader", "-1"]


def test_a_negative_uid_is_a_word() -> None:
    assert arguments(SYNTAX, ["-1"]).words == ["-1"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "usage: cut <uid>"),
        (["1", "2", "3", "4"], "usage: cut <uid>"),
        (["1", "--wet"], "has no option '--wet'"),
        (["1", "--dry=1"], "has no option '--dry=1'"),
        (["1", "--loader"], "--loader needs a value"),
    ],
)
def test_wrong_use_is_answered_with_the_usage(words: list[str], said: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        arguments(SYNTAX, words)
    assert said in str(raised.value)
    assert "usage: cut" in str(raised.value)


@pytest.mark.parametrize("text", ["", "x", "1.5", "1e3", "0x10", "-1", "9" * 30])
def test_only_whole_numbers_in_range_are_numbers(text: str) -> None:
    with pytest.raises(InvalidArgument, match="--limit takes a whole number"):
        integer(text, what="--limit", minimum=0)


def test_a_mistyped_command_is_told_the_nearest() -> None:
    assert "did you mean discard" in str(unknown_command("discrad", BY_NAME))
    assert "`help` lists" in str(unknown_command("zzzzzz", BY_NAME))


def test_every_example_is_valid() -> None:
    for command in COMMANDS:
        name, *words = split(command.syntax.example)
        assert name == command.syntax.name
        arguments(command.syntax, words)


def test_the_guides_commands_and_aliases_are_all_there() -> None:
    promised = (
        "help h ? status dump pause p resume r list_models list_optimizers list_loaders plot_model list_uids discard "
        "undiscard add_tag hp set_hp operate exit quit clear cls"
    )
    assert set(promised.split()) <= set(BY_NAME)
