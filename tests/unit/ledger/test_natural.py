"""The order of texts, and that it is worked out once."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from weightslab_ledger.metadata import TextColumn
from weightslab_ledger.natural import EMPTY_RANK, KnownRanks, natural_ranks

TEXTS = st.lists(st.text(max_size=3) | st.integers(0, 120).map(str), max_size=40)


@given(TEXTS)
def test_numbers_come_by_value_then_texts_and_the_empty_one_says_nothing(texts: list[str]) -> None:
    ranks = natural_ranks(texts).tolist()
    numbers = sorted({text for text in texts if text.isascii() and text.isdigit()}, key=lambda text: (int(text), text))
    others = sorted({text for text in texts if text} - set(numbers))
    place = {"": EMPTY_RANK} | {text: place for place, text in enumerate([*numbers, *others], 1)}
    assert ranks == [place[text] for text in texts]


def test_texts_are_ranked_once_until_there_are_more() -> None:
    known, texts = KnownRanks(), ["10", "9"]
    ranks = known.of(texts)
    assert known.of(list(texts)) is ranks
    texts.append("b")
    assert known.of(texts).tolist() == [2, 1, 3]


def test_a_column_that_gets_new_texts_is_ordered_anew() -> None:
    column = TextColumn()
    column.put(np.array([0, 1], dtype=np.uint32), ["b", "c"])
    before = column.values(2)
    assert before.ranks.of(before.categories)[before.codes].tolist() == [1, 2]
    column.put(np.array([2], dtype=np.uint32), ["a"])
    after = column.values(3)
    assert after.ranks.of(after.categories)[after.codes].tolist() == [2, 3, 1]
