"""PyTorch Lightning: what `Trainer.fit` trains is watched, and what `self.log` logs becomes curves.

criterion = wl.watch_loss(nn.CrossEntropyLoss())      # called in `training_step` and `validation_step`
trainer = Trainer(callbacks=[WeightsLabCallback()], logger=WeightsLabLogger())
trainer.fit(module, wl.watch_loader(train_loader), wl.watch_loader(val_loader))
"""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import Logger

import weightslab as wl
from weightslab import api
from weightslab.adapters.curves import add_points


class WeightsLabCallback(Callback):
    """Watches the module and the optimizers that it configures; the first one's steps are the steps of the run."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        wl.watch_model(pl_module)

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Before the first batch of any loader, where a run goes on at its last checkpoint.
        self._watch_optimizers(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._watch_optimizers(trainer)

    def _watch_optimizers(self, trainer: Trainer) -> None:
        for optimizer in trainer.optimizers:
            wl.watch_optimizer(optimizer)


class WeightsLabLogger(Logger):
    """What is logged becomes points of curves: `val_accuracy` of `val/accuracy`, `lr-SGD` of `train/lr-SGD`."""

    @property
    def name(self) -> str:
        return "weightslab"

    @property
    def version(self) -> str:
        """The id of the run, so that each run's checkpoints of Lightning get a folder of their own."""
        return api._run().run_id

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Nothing: hyperparameters that can be changed are given to `wl.watch_hyperparameters`."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        named = {name: value for name, value in metrics.items() if name != "epoch"}
        splits = {f"{split}_": split for split in api._run().splits}
        add_points(named, prefixes=splits, default="train")
