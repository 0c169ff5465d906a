"""Derived values are those that torch computes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional
from weightslab.derivation import Columns, CrossEntropyTerms, classification

LOGITS = torch.tensor([[2.0, 0.5, -1.0], [0.1, 0.2, 0.3], [-3.0, 8.0, 0.0], [1.0, 1.0, 1.0]])
TARGETS = torch.tensor([0, 0, 2, 1])


def _derived(
    terms: CrossEntropyTerms | None = None, logits: torch.Tensor = LOGITS, targets: torch.Tensor = TARGETS
) -> Columns:
    return classification(logits.numpy(), targets.numpy(), terms=terms or CrossEntropyTerms(), loss_name="loss")


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weight", [None, [0.5, 2.0, 1.0]])
def test_the_loss_of_each_sample_is_torchs(weight: list[float] | None, smoothing: float) -> None:
    expected = functional.cross_entropy(
        LOGITS,
        TARGETS,
        weight=None if weight is None else torch.tensor(weight),
        label_smoothing=smoothing,
        reduction="none",
    )
    terms = CrossEntropyTerms(weight=None if weight is None else np.array(weight), label_smoothing=smoothing)
    np.testing.assert_allclose(_derived(terms)["loss"], expected.numpy(), rtol=1e-5)


def test_scores_follow_their_definitions() -> None:
    p = LOGITS.softmax(1)
    derived = _derived()
    one_hot = functional.one_hot(TARGETS, 3)
    np.testing.assert_allclose(derived["confidence"], p[range(4), TARGETS], rtol=1e-5)
    np.testing.assert_allclose(derived["el2n"], (p - one_hot).norm(dim=1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(derived["prediction"], p.argmax(1))
    np.testing.assert_allclose(derived["correct"], (p.argmax(1) == TARGETS).float())
    others = p.masked_fill(one_hot.bool(), -1).max(1).values
    np.testing.assert_allclose(derived["margin"], p[range(4), TARGETS] - others, rtol=1e-5, atol=1e-6)


def test_ignored_samples_have_no_value() -> None:
    derived = _derived(CrossEntropyTerms(ignore_index=0))
    assert np.isnan(derived["loss"]).tolist() == [True, True, False, False]
    assert np.isnan(derived["confidence"]).tolist() == [True, True, False, False]


def test_logits_that_are_not_finite_cost_only_their_own_sample() -> None:
    logits = LOGITS.clone()
    logits[1, 0] = float("nan")
    derived = _derived(logits=logits)
    for values in derived.values():
        assert np.isnan(values).tolist() == [False, True, False, False]
