"""Classification: handwritten digits, with hyperparameters that may be changed while the script runs.

Run it with `python examples/classification.py`; it starts a studio, unless `WL_NATS_URL` names a bus.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import torch
import weightslab as wl
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


@dataclass
class Options:
    """What may be changed while the loop runs."""

    lr: float = 0.05
    batch_size: int = 32
    noise: float = 0.1


def datasets() -> tuple[TensorDataset, TensorDataset]:
    scans, digits = load_digits(return_X_y=True)
    pictures, targets = torch.tensor(scans / 16, dtype=torch.float32).reshape(-1, 1, 8, 8), torch.tensor(digits)
    return TensorDataset(pictures[:1400], targets[:1400]), TensorDataset(pictures[1400:], targets[1400:])


def main(epochs: int) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    options = wl.watch_hyperparameters(Options())
    train_set, val_set = datasets()
    names = [str(digit) for digit in range(10)]
    train_loader = wl.watch_loader(
        DataLoader(train_set, batch_size=options.batch_size, shuffle=True), split="train", class_names=names
    )
    val_loader = wl.watch_loader(DataLoader(val_set, batch_size=128), split="val", class_names=names)
    model = wl.watch_model(nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)))
    optimizer = wl.watch_optimizer(torch.optim.SGD(model.parameters(), lr=options.lr, momentum=0.9))
    criterion = wl.watch_loss(nn.CrossEntropyLoss())
    accuracy = wl.watch_metric(lambda logits, targets: (logits.argmax(1) == targets).float(), name="accuracy")
    wl.serve(checkpoint_every=100, total_steps=epochs * len(train_loader))

    for _ in range(epochs):
        model.train()
        for pictures, targets in train_loader:
            optimizer.zero_grad()
            criterion(model(pictures + options.noise * torch.randn_like(pictures)), targets).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            for pictures, targets in val_loader:
                logits = model(pictures)
                criterion(logits, targets)
                accuracy(logits, targets)
    wl.keep_serving()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=30)
    main(parser.parse_args().epochs)
