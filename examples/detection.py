"""Detection: find the one bright blob of a picture; its box, and the box that is predicted, are shown as outlines.

Run it with `python examples/detection.py`; it starts a studio, unless `WL_NATS_URL` names a bus.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
import weightslab as wl
from torch import nn
from torch.utils.data import DataLoader, Dataset

SIDE_PX = 48


class Blobs(Dataset[Any]):
    """Noise of 48x48 pixels with a disc (class 1) or a square (class 2) in it, and the box around that."""

    classes = ("background", "disc", "square")

    def __init__(self, count: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self._noise = 0.2 * torch.rand(count, 1, SIDE_PX, SIDE_PX, generator=generator)
        self._radii = torch.randint(4, 10, (count,), generator=generator)
        self._centers = torch.randint(10, SIDE_PX - 10, (count, 2), generator=generator)
        self.targets = torch.randint(1, 3, (count,), generator=generator)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        radius, (x, y), label = self._radii[index], self._centers[index], self.targets[index]
        rows, columns = torch.meshgrid(torch.arange(SIDE_PX), torch.arange(SIDE_PX), indexing="ij")
        across, down = (columns - x).abs(), (rows - y).abs()
        inside = across**2 + down**2 <= radius**2 if label == 1 else torch.maximum(across, down) <= radius
        box = torch.stack([x - radius, y - radius, x + radius, y + radius]).float()
        return self._noise[index] + 0.7 * inside, {"boxes": box[None], "labels": label[None]}


class Detector(nn.Module):
    """One box per picture: its corners as fractions of the side, and its class."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 8, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(16 * 12 * 12, 64),
            nn.ReLU(),
        )
        self.corners = nn.Linear(64, 4)
        self.label = nn.Linear(64, len(Blobs.classes))

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        found = self.body(pictures)
        return self.corners(found), self.label(found)


def log_boxes(uids: list[str], corners: torch.Tensor, logits: torch.Tensor) -> None:
    """Show what is predicted: one box per picture, with its class and how sure the model is of it."""
    scores, labels = logits.detach().softmax(1).max(1)
    wl.log_predictions(
        uids,
        boxes=[
            {"boxes": box[None] * SIDE_PX, "labels": label[None], "scores": score[None]}
            for box, label, score in zip(corners.detach(), labels, scores, strict=True)
        ],
    )


def main(epochs: int) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    train_loader = wl.watch_loader(DataLoader(Blobs(800, seed=1), batch_size=32, shuffle=True), split="train")
    val_loader = wl.watch_loader(DataLoader(Blobs(128, seed=2), batch_size=64), split="val")
    model = wl.watch_model(Detector())
    optimizer = wl.watch_optimizer(torch.optim.Adam(model.parameters(), lr=0.002))
    place_loss = wl.watch_loss(nn.SmoothL1Loss(), name="box_loss")
    class_loss = wl.watch_loss(nn.CrossEntropyLoss(), name="class_loss")
    wl.serve(checkpoint_every=100, total_steps=epochs * len(train_loader))

    for _ in range(epochs):
        for loader in (train_loader, val_loader):
            training = loader is train_loader
            with torch.set_grad_enabled(training):
                for pictures, target in loader:
                    corners, logits = model(pictures)
                    place = place_loss(corners, target["boxes"][:, 0] / SIDE_PX)
                    loss = place + 0.1 * class_loss(logits, target["labels"][:, 0])
                    log_boxes(loader.current_uids, corners, logits)
                    if training:
                        optimizer.zero_grad()
                        loss.backward()
                        optimizer.step()
    wl.keep_serving()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=20)
    main(parser.parse_args().epochs)
