"""Volumes: find a ball in a block of noise, slice by slice; the page shows each slice with its mask.

Run it with `python examples/volumes.py`; it starts a studio, unless `WL_NATS_URL` names a bus.
"""

from __future__ import annotations

import argparse

import torch
import weightslab as wl
from torch import nn
from torch.utils.data import DataLoader, Dataset

DEPTH, SIDE_PX = 8, 24


class Balls(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Blocks (Z, H, W) of 8x24x24 with a ball of noise that is brighter, and masks of the same shape: 1 is the ball."""

    classes = ("background", "ball")

    def __init__(self, count: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self._blocks = 0.4 * torch.rand(count, DEPTH, SIDE_PX, SIDE_PX, generator=generator)
        centers = torch.rand(count, 3, generator=generator) * torch.tensor([DEPTH - 1.0, SIDE_PX - 1.0, SIDE_PX - 1.0])
        radii = 3 + 4 * torch.rand(count, generator=generator)
        places = torch.cartesian_prod(torch.arange(DEPTH), torch.arange(SIDE_PX), torch.arange(SIDE_PX)).float()
        distances = torch.cdist(centers, places).reshape(count, DEPTH, SIDE_PX, SIDE_PX)
        self._masks = (distances < radii[:, None, None, None]).long()
        self._blocks += 0.4 * self._masks

    def __len__(self) -> int:
        return len(self._blocks)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self._blocks[index], self._masks[index]


def main(epochs: int) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    train_loader = wl.watch_loader(DataLoader(Balls(360, seed=1), batch_size=8, shuffle=True), split="train")
    val_loader = wl.watch_loader(DataLoader(Balls(40, seed=2), batch_size=8), split="val")
    model = wl.watch_model(
        nn.Sequential(
            nn.Unflatten(1, (1, DEPTH)), nn.Conv3d(1, 6, 3, padding=1), nn.ReLU(), nn.Conv3d(6, len(Balls.classes), 1)
        )
    )
    optimizer = wl.watch_optimizer(torch.optim.Adam(model.parameters(), lr=0.02))
    # From the logits (B, C, Z, H, W) of a watched loss the predicted masks are kept without another line.
    criterion = wl.watch_loss(nn.CrossEntropyLoss())
    wl.serve(checkpoint_every=100, total_steps=epochs * len(train_loader))

    for _ in range(epochs):
        for blocks, masks in train_loader:
            optimizer.zero_grad()
            criterion(model(blocks), masks).backward()
            optimizer.step()
        with torch.no_grad():
            for blocks, masks in val_loader:
                criterion(model(blocks), masks)
    wl.keep_serving()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=10)
    main(parser.parse_args().epochs)
