"""How well the label-issue score finds swapped labels: scikit-learn's digits, a tenth of the labels made wrong.

A small network is trained in plain torch; what each sample showed while it was trained on goes into the ledger's
columns, and the scores are read as a viewer would sort by them: `python bench/ledger_label_noise.py [seeds]`.
Precision at the true number of wrong labels is the recall as well. Results are written beside the script.
"""

from __future__ import annotations

import json
import platform
import sys
from datetime import date
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from weightslab_ledger.columns import Batch, ColumnTable
from weightslab_ledger.scores import SCORES

RESULTS = Path(__file__).with_suffix(".json")
NOISE = 0.10
EPOCHS = 5
BATCH = 32
# Score, and whether a high value speaks of a wrong label.
JUDGES = {"label_issue": True, "el2n_mean": True, "loss": True, "confidence_mean": False, "forgetting": True}


def noisy_digits(seed: int) -> tuple[torch.Tensor, torch.Tensor, NDArray[np.bool_]]:
    """Images (float32, n x 1 x 8 x 8, 0 to 1), labels of which a tenth is wrong, and which are."""
    randomness = np.random.default_rng(seed)
    images, labels = load_digits(return_X_y=True)
    wrong = np.zeros(len(labels), dtype=bool)
    wrong[randomness.choice(len(labels), int(NOISE * len(labels)), replace=False)] = True
    shifted = (labels + randomness.integers(1, 10, len(labels))) % 10
    shown = torch.from_numpy((images / 16).astype(np.float32).reshape(-1, 1, 8, 8))
    return shown, torch.from_numpy(np.where(wrong, shifted, labels).astype(np.int64)), wrong


def network() -> torch.nn.Module:
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 32, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(32, 32, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(512, 64),
        torch.nn.ReLU(),
        torch.nn.Linear(64, 10),
    )


def shown_values(logits: torch.Tensor, labels: torch.Tensor) -> dict[str, NDArray[np.float32]]:
    """What the trainer publishes of a batch, from the logits the loss was computed with."""
    chances = logits.softmax(dim=1)
    own = chances.gather(1, labels[:, None])[:, 0]
    others = chances.scatter(1, labels[:, None], -1.0).max(dim=1).values
    error = chances - torch.nn.functional.one_hot(labels, 10)
    found = {
        "loss": torch.nn.functional.cross_entropy(logits, labels, reduction="none"),
        "confidence": own,
        "margin": own - others,
        "correct": (own > others).float(),
        "el2n": error.norm(dim=1),
    }
    return {f"train/{name}": values.detach().numpy() for name, values in found.items()}


def precision_by_epoch(seed: int) -> dict[str, list[float]]:
    """By score, the precision after each epoch at the true number of wrong labels."""
    torch.manual_seed(seed)
    images, labels, wrong = noisy_digits(seed)
    model, columns = network(), ColumnTable()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    found: dict[str, list[float]] = {name: [] for name in JUDGES}
    step = 0
    for epoch in range(EPOCHS):
        for rows in torch.split(torch.randperm(len(labels)), BATCH):
            logits = model(images[rows])
            loss = torch.nn.functional.cross_entropy(logits, labels[rows])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            step += 1
            batch = Batch(
                rows.numpy().astype(np.uint32),
                np.full(len(rows), step),
                np.full(len(rows), epoch, dtype=np.uint32),
                len(labels),
            )
            for name, values in shown_values(logits, labels[rows]).items():
                columns.update(name, batch, values)
        for name in JUDGES:
            found[name].append(precision(columns, name, wrong))
    return found


def precision(columns: ColumnTable, name: str, wrong: NDArray[np.bool_]) -> float:
    """Of as many samples as are wrong, those that score worst: the share that is wrong."""
    score = SCORES.get(name)
    if score is None:
        values = columns.columns[f"train/{name}"].statistic(".mean", len(wrong))
    else:
        values = score.values(columns, f"train/{name}", len(wrong))
    order = np.argsort(-values if JUDGES[name] else values, kind="stable")
    return float(wrong[order[: int(wrong.sum())]].mean())


def main(seed_count: int) -> None:
    torch.set_num_threads(1)
    runs = [precision_by_epoch(seed) for seed in range(seed_count)]
    results: dict[str, object] = {
        "data": f"digits, {int(NOISE * 100)} % of the labels wrong, {EPOCHS} epochs, {seed_count} seeds",
        "precision = recall at the true number, mean (min) over seeds, by epoch": {
            name: [
                f"{np.mean(column):.3f} ({np.min(column):.3f})" for column in np.array([run[name] for run in runs]).T
            ]
            for name in JUDGES
        },
        "where": f"{platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}, {date.today()}",
    }
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
