"""Segmentation: find the strokes of handwritten digits; the mask of each sample is shown as its ground truth.

Run it with `python examples/segmentation.py`; it starts a studio, unless `WL_NATS_URL` names a bus.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
import weightslab as wl
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Strokes(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Scans of 32x32 with noise, and masks of class ids: 0 background, 1 thin ink, 2 thick ink."""

    classes = ("background", "thin", "thick")

    def __init__(self, first: int, last: int) -> None:
        scans = torch.tensor(load_digits().images[first:last], dtype=torch.float32)[:, None] / 16
        scans = nn.functional.interpolate(scans, size=32, mode="bilinear")
        self._masks = (scans[:, 0] > 0.3).long() + (scans[:, 0] > 0.7).long()
        self._scans = scans + 0.2 * torch.randn(scans.shape, generator=torch.Generator().manual_seed(1))

    def __len__(self) -> int:
        return len(self._scans)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self._scans[index], self._masks[index]


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, len(Strokes.classes), 1),
    )


def main(epochs: int) -> None:
    torch.set_num_threads(1)
    parameters: dict[str, Any] = {"optimizer": {"lr": 0.01}, "batch_size": 32}
    wl.watch_hyperparameters(parameters)
    train_loader = wl.watch_loader(
        DataLoader(Strokes(0, 1400), batch_size=parameters["batch_size"], shuffle=True), split="train"
    )
    val_loader = wl.watch_loader(DataLoader(Strokes(1400, 1797), batch_size=64), split="val")
    model = wl.watch_model(network())
    optimizer = wl.watch_optimizer(torch.optim.Adam(model.parameters(), lr=parameters["optimizer"]["lr"]))
    # Over masks, the value of a sample is the mean over its pixels.
    criterion = wl.watch_loss(nn.CrossEntropyLoss())
    wl.serve(checkpoint_every=100, total_steps=epochs * len(train_loader))

    for _ in range(epochs):
        for scans, masks in train_loader:
            optimizer.zero_grad()
            criterion(model(scans), masks).backward()
            optimizer.step()
        with torch.no_grad():
            for scans, masks in val_loader:
                logits = model(scans)
                criterion(logits, masks)
                right = (logits.argmax(1) == masks).float().flatten(1).mean(1)
                wl.log_sample_signals(val_loader.current_uids, pixel_accuracy=right)
    wl.keep_serving()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=20)
    main(parser.parse_args().epochs)
