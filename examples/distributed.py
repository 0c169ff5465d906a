"""Two or more processes train one model with DistributedDataParallel; they are one run on the page.

Run it with `torchrun --nproc-per-node 2 examples/distributed.py`; rank 0 starts a studio, unless `WL_NATS_URL` names a
bus.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import torch
import torch.distributed as dist
import weightslab as wl
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler


def main(epochs: int, *, samples: int, pause_secs: float, record: Path | None) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    scans, digits = load_digits(return_X_y=True)
    images = torch.tensor(scans[:samples] / 16, dtype=torch.float32)
    dataset = TensorDataset(images, torch.tensor(digits[:samples]))
    sampler: DistributedSampler[object] = DistributedSampler(dataset, shuffle=True)

    parameters = wl.watch_hyperparameters({"lr": 0.05})
    loader = wl.watch_loader(DataLoader(dataset, batch_size=16, sampler=sampler))
    model = wl.watch_model(DistributedDataParallel(nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))))
    optimizer = wl.watch_optimizer(torch.optim.SGD(model.parameters(), lr=parameters["lr"], momentum=0.9))
    criterion = wl.watch_loss(nn.CrossEntropyLoss())
    wl.serve(serving_cli=False, checkpoint_every=20)

    lines = record.open("w", buffering=1) if record else None
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        for scan, digit in loader:
            optimizer.zero_grad()
            criterion(model(scan), digit).backward()
            optimizer.step()
            if lines:
                weights = sum(float(parameter.double().sum()) for parameter in model.parameters())
                rate = optimizer.param_groups[0]["lr"]
                seen = {"epoch": epoch, "uids": loader.current_uids, "weights": weights, "lr": rate}
                lines.write(json.dumps(seen) + "\n")
            time.sleep(pause_secs)
    wl.keep_serving()
    dist.destroy_process_group()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--samples", type=int, default=1797)
    parser.add_argument("--pause-secs", type=float, default=0.0, help="wait so long after each step")
    parser.add_argument("--record", type=Path, help="write what each step saw to a file per rank in this folder")
    given = parser.parse_args()
    own = given.record / f"rank-{os.environ['RANK']}.jsonl" if given.record else None
    main(given.epochs, samples=given.samples, pause_secs=given.pause_secs, record=own)
