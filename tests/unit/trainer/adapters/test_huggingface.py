"""Hugging Face's own Trainer, and Accelerate in a loop of the user, with small real models."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import weightslab as wl
from accelerate import Accelerator
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedModel,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from weightslab.adapters.accelerate import watch_loader
from weightslab.adapters.huggingface import watch_trainer

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

TOKEN_COUNT = 6
VOCABULARY = 16


class Sentences(Dataset[dict[str, torch.Tensor]]):
    """Sample i begins with its number in base 16; its label is a class, or the tokens themselves."""

    def __init__(self, count: int, *, causal: bool) -> None:
        generator = torch.Generator().manual_seed(3)
        self.tokens = torch.randint(VOCABULARY, (count, TOKEN_COUNT), generator=generator)
        self.tokens[:, 0], self.tokens[:, 1] = torch.arange(count) // VOCABULARY, torch.arange(count) % VOCABULARY
        self._causal = causal

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        tokens = self.tokens[index]
        labels = tokens.clone() if self._causal else torch.tensor(index % CLASS_COUNT)
        if self._causal:
            # As padding: one label less per sample.
            labels[-1 - index % 3 :] = -100
        return {"input_ids": tokens, "labels": labels}


def _classifier() -> PreTrainedModel:
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        num_labels=CLASS_COUNT,
    )
    return BertForSequenceClassification(config)


def _language_model() -> PreTrainedModel:
    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=TOKEN_COUNT,
        n_embd=16,
        n_layer=1,
        n_head=2,
        bos_token_id=None,
        eos_token_id=None,
    )
    return GPT2LMHeadModel(config)


def _trainer(model: PreTrainedModel, folder: Path, *, causal: bool = False, **options: Any) -> Trainer:
    arguments = TrainingArguments(
        output_dir=str(folder / "transformers"),
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        save_strategy="no",
        per_device_train_batch_size=BATCH_SIZE,
        per_device_eval_batch_size=BATCH_SIZE,
        dataloader_pin_memory=False,
        logging_steps=2,
        **options,
    )
    return Trainer(
        model,
        arguments,
        train_dataset=Sentences(TRAIN_COUNT, causal=causal),
        eval_dataset=Sentences(VAL_COUNT, causal=causal),
        compute_metrics=lambda found: {"accuracy": float((np.argmax(found.predictions, -1) == found.label_ids).mean())},
    )


class _End(TrainerCallback):
    """Ends a training from another thread."""

    def __init__(self) -> None:
        self.asked = threading.Event()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        control.should_training_stop = self.asked.is_set()


@pytest.fixture(autouse=True)
def at_the_bus(nats_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WL_NATS_URL", nats_url)
    monkeypatch.setenv("WL_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("WL_MEDIA_WORKER", "thread")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.mark.parametrize("accumulation", [1, 2])
async def test_training_publishes_every_sample_in_every_epoch_and_what_was_logged(
    accumulation: int, peer: Peer, tmp_path: Path
) -> None:
    trainer = watch_trainer(
        _trainer(
            _classifier(),
            tmp_path,
            num_train_epochs=2,
            eval_strategy="epoch",
            gradient_accumulation_steps=accumulation,
        ),
        class_names=["a", "b", "c"],
    )
    wl.serve(serving_cli=False, experiment=peer.experiment)
    await peer.attached()
    trainer.train()
    wl.stop()
    status = await peer.status()
    assert status is not None
    assert (status.step, status.epoch) == (2 * STEPS_PER_EPOCH // accumulation, 2)
    every = {epoch: set(range(TRAIN_COUNT)) for epoch in range(2)}
    assert await values_by_epoch(peer, "train/loss") == every
    assert await values_by_epoch(peer, "train/margin") == every
    assert await values_by_epoch(peer, "val/confidence") == {epoch: set(range(VAL_COUNT)) for epoch in range(2)}
    # Two points per step when the gradients of two batches are added up.
    assert [step for _, _, step, _ in await peer.points("train/loss")] == [
        number // accumulation for number in range(2 * STEPS_PER_EPOCH)
    ]
    accuracies = [value for *_, value in await peer.points("val/accuracy")]
    assert len(accuracies) == 2
    corrects = await peer.values("val/correct")
    assert sum(value for step, _, value in corrects if step == status.step) / VAL_COUNT == accuracies[-1]
    assert await peer.points("train/learning_rate")


async def test_a_language_model_gives_each_sample_the_mean_loss_of_its_labels(peer: Peer, tmp_path: Path) -> None:
    model = _language_model()
    trainer = watch_trainer(_trainer(model, tmp_path, causal=True, num_train_epochs=1))
    wl.serve(serving_cli=False, experiment=peer.experiment)
    await peer.attached()
    trainer.evaluate()
    wl.stop()
    samples = [trainer.eval_dataset[index] for index in range(VAL_COUNT)]
    expected = []
    with torch.no_grad():
        for sample in samples:
            logits = model(sample["input_ids"][None]).logits[0]
            expected.append(functional.cross_entropy(logits[:-1], sample["labels"][1:], ignore_index=-100).item())
    found = {position: value for _, position, value in await peer.values("val/loss")}
    assert [found[position] for position in range(VAL_COUNT)] == pytest.approx(expected, rel=1e-5)


async def test_training_obeys_people(peer: Peer, tmp_path: Path) -> None:
    trainer = watch_trainer(_trainer(_classifier(), tmp_path, num_train_epochs=10_000))
    end = _End()
    trainer.add_callback(end)
    trainer.get_eval_dataloader()
    wl.serve(serving_cli=False, experiment=peer.experiment)
    await obeys_people(peer, trainer.model, fit=trainer.train, end=end.asked.set)


async def test_a_loop_with_accelerate_obeys_people(peer: Peer) -> None:
    accelerator = Accelerator(cpu=True)
    model = wl.watch_model(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, CLASS_COUNT)))
    optimizer = wl.watch_optimizer(torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9))
    criterion = wl.watch_loss(nn.CrossEntropyLoss())
    prepared, stepper = accelerator.prepare(model, optimizer)
    loader = watch_loader(accelerator, DataLoader(Numbered(TRAIN_COUNT), batch_size=BATCH_SIZE, shuffle=True))
    val_loader = watch_loader(accelerator, accelerator.prepare(DataLoader(Numbered(VAL_COUNT), batch_size=BATCH_SIZE)))
    wl.serve(serving_cli=False, experiment=peer.experiment)
    ending = threading.Event()

    def fit() -> None:
        while not ending.is_set():
            for features, targets in loader:
                stepper.zero_grad()
                accelerator.backward(criterion(prepared(features), targets))
                stepper.step()
                if ending.is_set():
                    return
            with torch.no_grad():
                for features, targets in val_loader:
                    criterion(prepared(features), targets)

    await obeys_people(peer, model, fit=fit, end=ending.set)
