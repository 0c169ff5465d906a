"""Values of samples, derived on the publisher thread from what the training thread handed off. Pure NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Columns = dict[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class CrossEntropyTerms:
    """The settings of a cross-entropy loss. Same meaning as in `torch.nn.CrossEntropyLoss`."""

    weight: NDArray[np.float64] | None = None
    ignore_index: int = -100
    label_smoothing: float = 0.0


def log_softmax(logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Row by row, of shape (B, C)."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    normalised: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return normalised


def cross_entropy(
    log_p: NDArray[np.float64], targets: NDArray[np.int64], terms: CrossEntropyTerms
) -> NDArray[np.float64]:
    """The loss of each sample, as torch gives it with `reduction="none"`; NaN for ignored samples."""
    rows = np.arange(len(targets))
    used = targets != terms.ignore_index
    classes = np.where(used, targets, 0)
    weight = np.ones(log_p.shape[1]) if terms.weight is None else terms.weight
    loss = -log_p[rows, classes] * weight[classes]
    if terms.label_smoothing:
        smooth = -(log_p * weight).sum(axis=1) / log_p.shape[1]
        loss = (1 - terms.label_smoothing) * loss + terms.label_smoothing * smooth
    return np.where(used, loss, np.nan)


def classification(
    logits: NDArray[np.floating[Any]], targets: NDArray[np.int64], *, terms: CrossEntropyTerms, loss_name: str
) -> Columns:
    """Loss, confidence p(true class), margin p(true) - max p(other), correctness, EL2N and the predicted class.

    EL2N is the Euclidean norm of (probabilities - one-hot target), Paul et al. 2021, "Deep Learning on a Data Diet".
    Margin: Toneva et al. 2019 count its sign changes; Pleiss et al. 2020 average it over epochs (on logits).
    `logits` is (B, C), `targets` int64 (B,).
    """
    with np.errstate(all="ignore"):
        log_p = log_softmax(logits)
        p = np.exp(log_p)
        loss = cross_entropy(log_p, targets, terms)
        used = targets != terms.ignore_index
        classes = np.where(used, targets, 0)
        rows = np.arange(len(targets))
        true_p = p[rows, classes]
        others = p.copy()
        others[rows, classes] = -np.inf
        margin = true_p - others.max(axis=1)
        el2n = np.sqrt(np.maximum((p**2).sum(axis=1) - 2 * true_p + 1, 0))
    prediction = p.argmax(axis=1)
    finite = np.isfinite(log_p).all(axis=1)
    columns = {
        "confidence": true_p,
        "margin": margin,
        "correct": (prediction == targets).astype(np.float64),
        "el2n": el2n,
    }
    derived = {name: np.where(used & finite, values, np.nan).astype(np.float32) for name, values in columns.items()}
    derived["prediction"] = np.where(finite, prediction, np.nan).astype(np.float32)
    return {loss_name: loss.astype(np.float32), **derived}


def regression(outputs: NDArray[np.float64], targets: NDArray[np.float64]) -> Columns:
    """The predicted number of each sample and its distance from the target; both arguments are (B,)."""
    return {
        "prediction": outputs.astype(np.float32),
        "error": np.abs(outputs - targets).astype(np.float32),
    }


def binary(logits: NDArray[np.float64], targets: NDArray[np.float64]) -> Columns:
    """Predicted class 0 or 1, confidence p(true class) and correctness; the true class is 1 from a target of 0.5 on."""
    true = targets >= 0.5
    with np.errstate(over="ignore"):
        confidence = 1 / (1 + np.exp(np.where(true, -logits, logits)))
    finite = np.isfinite(logits)
    derived = {"prediction": logits > 0, "confidence": confidence, "correct": (logits > 0) == true}
    return {name: np.where(finite, values, np.nan).astype(np.float32) for name, values in derived.items()}
