"""PyTorch Lightning's own Trainer, watched by the callback and the logger."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import weightslab as wl
from torch import nn
from torch.utils.data import DataLoader

from tests.unit.trainer.adapters.adapted import (
    BATCH_SIZE,
    STEPS_PER_EPOCH,
    TRAIN_COUNT,
    VAL_COUNT,
    obeys_people,
    values_by_epoch,
)
from tests.unit.trainer.peers import Peer
from tests.unit.trainer.runs import CLASS_COUNT, Numbered

with warnings.catch_warnings():
    # Packages that Lightning imports use names of others that are deprecated.
    warnings.simplefilter("ignore")
    from lightning.pytorch import LightningModule, Trainer
    from weightslab.adapters.lightning import WeightsLabCallback, WeightsLabLogger

# Lightning's advice on workers and intervals, and names of torch that it uses although they are deprecated.
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:lightning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


class Classifier(LightningModule):
    """Two layers, dropout and a schedule."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, CLASS_COUNT))
        self.criterion = wl.watch_loss(nn.CrossEntropyLoss())

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.layers(features)
        return outputs

    def training_step(self, batch: Any, batch_index: int) -> torch.Tensor:
        loss: torch.Tensor = self.criterion(self(batch[0]), batch[1])
        self.log("train_loss_logged", loss)
        return loss

    def validation_step(self, batch: Any, batch_index: int) -> None:
        logits = self(batch[0])
        self.criterion(logits, batch[1])
        self.log("val_accuracy", (logits.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.9)]


def _trainer(folder: Path, **options: Any) -> Trainer:
    return Trainer(
        accelerator="cpu",
        callbacks=[WeightsLabCallback()],
        logger=WeightsLabLogger(),
        default_root_dir=folder,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        log_every_n_steps=2,
        **options,
    )


def _loaders() -> tuple[Any, Any]:
    train = wl.watch_loader(DataLoader(Numbered(TRAIN_COUNT), batch_size=BATCH_SIZE, shuffle=True))
    val = wl.watch_loader(DataLoader(Numbered(VAL_COUNT), batch_size=BATCH_SIZE))
    return train, val


@pytest.fixture(autouse=True)
def at_the_bus(nats_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WL_NATS_URL", nats_url)
    monkeypatch.setenv("WL_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("WL_MEDIA_WORKER", "thread")


async def test_a_fit_publishes_every_sample_in_every_epoch_and_what_was_logged(peer: Peer, tmp_path: Path) -> None:
    module, loaders = Classifier(), _loaders()
    wl.serve(serving_cli=False, experiment=peer.experiment)
    await peer.attached()
    _trainer(tmp_path, max_epochs=3, num_sanity_val_steps=0).fit(module, *loaders)
    wl.stop()
    status = await peer.status()
    assert status is not None
    assert (status.step, status.epoch) == (3 * STEPS_PER_EPOCH, 3)
    every = {epoch: set(range(TRAIN_COUNT)) for epoch in range(3)}
    assert await values_by_epoch(peer, "train/loss") == every
    assert await values_by_epoch(peer, "train/confidence") == every
    assert await values_by_epoch(peer, "val/loss") == {epoch: set(range(VAL_COUNT)) for epoch in range(3)}
    assert [step for _, _, step, _ in await peer.points("train/loss")] == list(range(3 * STEPS_PER_EPOCH))
    assert len(await peer.points("val/accuracy")) == 3
    logged = {step for _, _, step, _ in await peer.points("train/loss_logged")}
    assert len(logged) == 3 * STEPS_PER_EPOCH // 2


async def test_a_fit_obeys_people(peer: Peer, tmp_path: Path) -> None:
    module, loaders = Classifier(), _loaders()
    trainer = _trainer(tmp_path, max_epochs=-1)
    wl.serve(serving_cli=False, experiment=peer.experiment)
    await obeys_people(
        peer,
        module,
        fit=lambda: trainer.fit(module, *loaders),
        end=lambda: setattr(trainer, "should_stop", True),
    )
