"""Training dynamics: scores of samples that tell hard, forgotten and mislabelled ones, from what training published.

A score is a column `<split>/<score>` that is there when the signals it is made of are. It is computed from running
statistics of the train mode, so it costs nothing until somebody looks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from weightslab_ledger.columns import ColumnTable, SampleColumn

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Score:
    """`signal`: the last part of the name of the signal that `compute` reads, for so many rows."""

    signal: str
    compute: Callable[[SampleColumn, int], Numbers]
    description: str

    def column(self, columns: ColumnTable, name: str) -> SampleColumn:
        """The column that the score of this name is computed from."""
        return columns.columns[_source(name, self)]

    def values(self, columns: ColumnTable, name: str, row_count: int) -> Numbers:
        """One number per row, NaN where a sample was not seen."""
        return self.compute(self.column(columns, name), row_count)


def el2n(column: SampleColumn, row_count: int) -> Numbers:
    """Mean L2 norm of the error vector, softmax minus one-hot: Paul, Ganguli and Dziugaite, "Deep Learning on a Data
    Diet: Finding Important Examples Early in Training" (NeurIPS 2021)."""
    return column.statistic(".mean", row_count)


def area_under_margin(column: SampleColumn, row_count: int) -> Numbers:
    """Mean over training of the probability of the label minus that of the best other class: Pleiss, Zhang, Elenberg
    and Weinberger, "Identifying Mislabeled Data using the Area Under the Margin Ranking" (NeurIPS 2020), here of
    probabilities, so that it lies in [-1, 1]."""
    return column.statistic(".mean", row_count)


def label_issue(column: SampleColumn, row_count: int) -> Numbers:
    """How much training argued against the label, 0 to 1: the area under the margin (Pleiss et al., NeurIPS 2020),
    turned round and scaled."""
    return (1 - column.statistic(".mean", row_count)) / 2


def confidence(column: SampleColumn, row_count: int) -> Numbers:
    """Mean probability of the label: Swayamdipta et al., "Dataset Cartography: Mapping and Diagnosing Datasets with
    Training Dynamics" (EMNLP 2020)."""
    return column.statistic(".mean", row_count)


def variability(column: SampleColumn, row_count: int) -> Numbers:
    """Standard deviation of the probability of the label: Swayamdipta et al., "Dataset Cartography" (EMNLP 2020)."""
    return np.asarray(np.sqrt(column.statistic(".variance", row_count)))


def forgetting(column: SampleColumn, row_count: int) -> Numbers:
    """How often a sample went from right to wrong between two looks at it: Toneva et al., "An Empirical Study of
    Example Forgetting during Deep Neural Network Learning" (ICLR 2019)."""
    return np.where(column.get("count", row_count) > 0, column.get("forgotten", row_count).astype(np.float64), np.nan)


def first_learned(column: SampleColumn, row_count: int) -> Numbers:
    """The epoch, from 0, in which a sample was first right; NaN while it never was. After Toneva et al. (ICLR 2019)."""
    return _epoch(column.get("first_learned", row_count))


def last_learned(column: SampleColumn, row_count: int) -> Numbers:
    """The epoch, from 0, in which a sample last turned from wrong to right; NaN while it never was right. After
    Toneva et al. (ICLR 2019)."""
    return _epoch(column.get("last_learned", row_count))


def loss_trend(column: SampleColumn, row_count: int) -> Numbers:
    """Least-squares slope of a sample's losses over the looks at it: how the loss of what is learned falls and that of
    what is mislabelled does not, as in Arazo et al., "Unsupervised Label Noise Modeling and Loss Correction" (ICML
    2019)."""
    return column.statistic(".trend", row_count)


def _epoch(counted_from_one: NDArray[np.uint32]) -> Numbers:
    return np.where(counted_from_one > 0, counted_from_one - 1.0, np.nan)


SCORES: dict[str, Score] = {
    "el2n_mean": Score("el2n", el2n, "EL2N: mean norm of the error vector; high is hard"),
    "aum": Score("margin", area_under_margin, "area under the margin, -1 to 1; low may be mislabelled"),
    "label_issue": Score("margin", label_issue, "how much training argues against the label, 0 to 1"),
    "confidence_mean": Score("confidence", confidence, "mean probability of the label"),
    "variability": Score("confidence", variability, "standard deviation of the probability of the label"),
    "forgetting": Score("correct", forgetting, "how often the sample was forgotten"),
    "first_learned": Score("correct", first_learned, "epoch in which the sample was first right"),
    "last_learned": Score("correct", last_learned, "epoch in which the sample last became right"),
    "loss_trend": Score("loss", loss_trend, "slope of the sample's losses; not falling may be mislabelled"),
}


def _source(name: str, score: Score) -> str:
    return name.rpartition("/")[0] + "/" + score.signal


def find_score(columns: ColumnTable, name: str) -> Score | None:
    """The score that a column name stands for, if there is what it is made of."""
    score = SCORES.get(name.rpartition("/")[2]) if "/" in name else None
    return score if score is not None and _source(name, score) in columns.columns else None


def scores_of(columns: ColumnTable) -> Iterator[tuple[str, Score]]:
    """Every score there is, with its name, except where a signal has that name."""
    for column in sorted(columns.columns):
        prefix, slash, signal = column.rpartition("/")
        for name, score in SCORES.items():
            if slash and score.signal == signal and columns.split_name(f"{prefix}/{name}") is None:
                yield f"{prefix}/{name}", score
