"""Replies as people read them."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from weightslab.console.display import plain

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


def test_a_reply_is_lines_of_keys_and_values() -> None:
    assert plain({"ok": True, "state": "paused", "step": 7, "rate": 1 / 3, "none": None, "yes": True}) == (
        "ok\nstate  paused\nstep   7\nrate   0.333333\nnone   –\nyes    yes\n"
    )


def test_a_list_of_records_is_a_table() -> None:
    text = plain({"ok": True, "uids": [{"uid": "1", "tags": ["a", "b"]}, {"uid": "1000", "tags": []}]})
    assert [line.rstrip() for line in text.splitlines()] == ["ok", "uids", "  uid   tags", "  1     a, b", "  1000  –"]


def test_several_lines_keep_their_shape() -> None:
    assert plain({"ok": True, "tree": "a\n  b"}) == "ok\ntree\n  a\n    b\n"


def test_an_error_is_one_line() -> None:
    assert plain({"ok": False, "error": "no such uid"}) == "error no such uid\n"


def test_help_is_narrow() -> None:
    from weightslab.console.commands import COMMANDS
    from weightslab.console.conversation import _described

    text = plain({"ok": True, "commands": [_described(command.syntax) for command in COMMANDS]})
    assert "  discard <uid> [uid2 ...] [--loader loader_name]\n      Leave samples out" in text
    assert "  pause, p\n" in text
    assert max(map(len, text.splitlines())) <= 120


def test_what_is_not_a_number_is_a_dash() -> None:
    assert plain({"ok": True, "loss": math.nan}) == "ok\nloss  –\n"


@given(st.dictionaries(st.text(), _JSON, max_size=4))
def test_no_reply_can_act_on_the_terminal(reply: dict[str, object]) -> None:
    text = plain({**reply, "ok": True})
    assert all(character.isprintable() or character in "\n\t" for character in text)
