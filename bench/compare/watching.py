"""How each tool is put into the loop, as its own documentation says; each import is of the tool's own environment."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench.compare.work import BATCH_SIZE, Loop


def plain(loop: Loop, folder: Path) -> Loop:
    """Nothing is watched."""
    return loop


def ours(loop: Loop, folder: Path) -> Loop:
    """Every loss of every sample, its confidence, margin, correctness and EL2N, live; the studio is started along."""
    import weightslab as wl

    loop.loader = wl.watch_loader(loop.loader)
    wl.watch_model(loop.model)
    wl.watch_optimizer(loop.optimizer)
    loop.criterion = wl.watch_loss(loop.criterion)
    wl.serve(serving_cli=False, experiment="compare", data_dir=folder)
    return loop


def tensorboard(loop: Loop, folder: Path) -> Loop:
    """The loss of each step as a scalar."""
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder))
    loop.logged = lambda step, loss: writer.add_scalar("train/loss", loss.item(), step)
    return loop


def wandb(loop: Loop, folder: Path) -> Loop:
    """The loss of each step, offline."""
    os.environ |= {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_DIR": str(folder)}
    import wandb as library

    run = library.init(project="compare", dir=str(folder))
    loop.logged = lambda step, loss: run.log({"train/loss": loss.item()}, step=step)
    return loop


def mlflow(loop: Loop, folder: Path) -> Loop:
    """The loss of each step, into a local store."""
    import mlflow as library

    library.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    library.start_run()
    loop.logged = lambda step, loss: library.log_metric("train/loss", loss.item(), step=step)
    return loop


class Older(Loop):
    """The loop as weightslab 2.0 on the package index wants it: the loader yields ids, the loss takes them."""

    def __init__(self, data: Any, folder: Path) -> None:
        super().__init__(data)
        import weightslab as wl

        self._wl = wl
        parameters = {"experiment_name": "compare", "device": "cpu", "root_log_dir": str(folder)}
        wl.watch_or_edit(parameters, flag="hyperparameters", defaults=parameters, poll_interval=1.0)
        self.model = wl.watch_or_edit(self.model, flag="model", device="cpu", compute_dependencies=False)
        sgd = torch.optim.SGD(self.model.parameters(), lr=0.01)
        self.optimizer = wl.watch_or_edit(sgd, flag="optimizer")
        self.loader = wl.watch_or_edit(
            data,
            flag="data",
            loader_name="train_loader",
            batch_size=BATCH_SIZE,
            shuffle=True,
            is_training=True,
            compute_hash=False,
        )
        self.criterion = wl.watch_or_edit(
            nn.CrossEntropyLoss(reduction="none"), flag="loss", signal_name="train_loss", per_sample=True, log=True
        )
        wl.serve(serving_grpc=True, serving_cli=False)
        wl.start_training(timeout=0)

    def train(self) -> Iterator[None]:
        while True:
            with self._wl.guard_training_context:
                images, ids, targets = next(self.loader)
                self.optimizer.zero_grad()
                logits = self.model(images)
                values = self.criterion(logits, targets, batch_ids=ids, preds=logits.argmax(dim=1, keepdim=True))
                values.mean().backward()
                self.optimizer.step()
            yield


def older(loop: Loop, folder: Path) -> Loop:
    """Every loss of every sample, live, by the tool that people use for this today."""
    return Older(loop.data, folder)


TOOLS: dict[str, Callable[[Loop, Path], Loop]] = {
    "plain": plain,
    "ours": ours,
    "tensorboard": tensorboard,
    "wandb": wandb,
    "mlflow": mlflow,
    "older": older,
}
