"""Scores equal an offline computation over the whole recorded history."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from weightslab_ledger.columns import Batch, ColumnTable
from weightslab_ledger.scores import find_score, scores_of

ROWS, EPOCHS, BATCH = 60, 9, 16
Recorded = dict[str, Any]


@pytest.fixture(scope="module")
def recorded() -> tuple[ColumnTable, Recorded]:
    """Nine epochs in shuffled batches, several epochs per message; and the same values as (epoch, row) arrays."""
    randomness = np.random.default_rng(11)
    history: Recorded = {
        "el2n": randomness.random((EPOCHS, ROWS)).astype(np.float32),
        "margin": randomness.uniform(-1, 1, (EPOCHS, ROWS)).astype(np.float32),
        "confidence": randomness.random((EPOCHS, ROWS)).astype(np.float32),
        "correct": (randomness.random((EPOCHS, ROWS)) < 0.6).astype(np.float32),
        "loss": randomness.exponential(size=(EPOCHS, ROWS)).astype(np.float32),
    }
    history["correct"][:, 0] = 0
    columns = ColumnTable()
    orders = [randomness.permutation(ROWS) for _ in range(EPOCHS)]
    rows, epochs = np.concatenate(orders).astype(np.uint32), np.repeat(np.arange(EPOCHS), ROWS).astype(np.uint32)
    for start in range(0, len(rows), 5 * BATCH):
        part = slice(start, start + 5 * BATCH)
        batch = Batch(rows[part], np.arange(len(rows))[part] // BATCH, epochs[part], ROWS + 5)
        for signal, values in history.items():
            columns.update(f"train/{signal}", batch, values[epochs[part], rows[part]])
    return columns, history


def _offline(name: str, history: Recorded) -> Any:
    exact = {signal: values.astype(np.float64) for signal, values in history.items()}
    correct = history["correct"] >= 0.5
    rises = correct & ~np.vstack([np.zeros((1, ROWS), dtype=bool), correct[:-1]])
    never = ~correct.any(axis=0)
    match name:
        case "el2n_mean":
            return exact["el2n"].mean(axis=0)
        case "aum":
            return exact["margin"].mean(axis=0)
        case "label_issue":
            return (1 - exact["margin"].mean(axis=0)) / 2
        case "confidence_mean":
            return exact["confidence"].mean(axis=0)
        case "variability":
            return exact["confidence"].std(axis=0)
        case "forgetting":
            return (correct[:-1] & ~correct[1:]).sum(axis=0).astype(float)
        case "first_learned":
            return np.where(never, np.nan, correct.argmax(axis=0))
        case "last_learned":
            return np.where(never, np.nan, EPOCHS - 1 - rises[::-1].argmax(axis=0))
    return np.polyfit(np.arange(EPOCHS), exact["loss"], 1)[0]


@pytest.mark.parametrize(
    "name",
    [
        "el2n_mean", "aum", "label_issue", "confidence_mean", "variability",
        "forgetting", "first_learned", "last_learned", "loss_trend",
    ],
)  # fmt: skip
def test_a_score_equals_the_offline_computation(name: str, recorded: tuple[ColumnTable, Recorded]) -> None:
    columns, history = recorded
    score = find_score(columns, f"train/{name}")
    assert score
    values = score.values(columns, f"train/{name}", ROWS + 5)
    np.testing.assert_allclose(values[:ROWS], _offline(name, history), atol=1e-5, rtol=0)
    assert np.isnan(values[ROWS:]).all(), "a sample that was never seen has no score"
    assert score.compute.__doc__
    assert "et al." in score.compute.__doc__ or "Ganguli" in score.compute.__doc__ or "Pleiss" in score.compute.__doc__


def test_scores_are_there_only_with_their_signals() -> None:
    columns = ColumnTable()
    one = np.array([1], dtype=np.uint32)
    columns.update("val/correct", Batch(one, one.astype(np.int64), one, 2), np.array([1], dtype=np.float32))
    assert [name for name, _ in scores_of(columns)] == ["val/forgetting", "val/first_learned", "val/last_learned"]
    assert find_score(columns, "val/aum") is None
    assert find_score(columns, "aum") is None
