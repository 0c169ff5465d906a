"""A plain loop with gradient accumulation, mixed precision and a schedule: nothing of it changes to be watched.

Run it with `python examples/gradient_accumulation.py`; it starts a studio, unless `WL_NATS_URL` names a bus.
"""

from __future__ import annotations

import argparse

import torch
import weightslab as wl
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

ACCUMULATED_BATCHES = 4


def main(epochs: int) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    scans, digits = load_digits(return_X_y=True)
    dataset = TensorDataset(torch.tensor(scans / 16, dtype=torch.float32).reshape(-1, 1, 8, 8), torch.tensor(digits))
    # A subset names its samples as the whole dataset does.
    train_set, val_set = random_split(dataset, [1500, 297])

    train_loader = wl.watch_loader(DataLoader(train_set, batch_size=16, shuffle=True, num_workers=2))
    val_loader = wl.watch_loader(DataLoader(val_set, batch_size=99), split="val")
    model = wl.watch_model(nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)))
    optimizer = wl.watch_optimizer(torch.optim.AdamW(model.parameters(), lr=0.003))
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=500)
    scaler = torch.amp.GradScaler("cpu")
    criterion = wl.watch_loss(nn.CrossEntropyLoss(label_smoothing=0.05))
    # Schedules and scalers need no line: they are found when a checkpoint or an audit needs them.
    wl.serve(checkpoint_every=50)

    for _ in range(epochs):
        for number, (images, targets) in enumerate(train_loader, start=1):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = criterion(model(images), targets)
            scaler.scale(loss / ACCUMULATED_BATCHES).backward()
            if number % ACCUMULATED_BATCHES == 0:
                scaler.step(optimizer)
                scaler.update()
                scheduler.step()
                optimizer.zero_grad()
        with torch.no_grad():
            for images, targets in val_loader:
                criterion(model(images), targets)
    wl.keep_serving()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=50)
    main(parser.parse_args().epochs)
