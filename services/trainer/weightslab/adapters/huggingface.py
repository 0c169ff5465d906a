"""Hugging Face Trainer: `watch_trainer(trainer)` watches its model, optimizer, loaders and losses.

trainer = watch_trainer(Trainer(model, arguments, train_dataset=…, eval_dataset=…))
wl.serve()
trainer.train()
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import torch
from torch.nn import functional
from transformers import Trainer, TrainerCallback
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

import weightslab as wl
from weightslab import api
from weightslab.adapters.accelerate import PlacedLoader, watch_loader
from weightslab.adapters.curves import add_points
from weightslab.losses import Watched
from weightslab.records import Batch

# What `on_log` brings beside values that make a curve; the losses are told batch by batch.
_NO_CURVES = ("epoch", "total_flos", "loss", "train_loss", "eval_loss")
_NO_CURVE_ENDS = ("_runtime", "_per_second", "_preparation_time")
_IGNORED_LABEL = -100


def watch_trainer(trainer: Trainer, *, eval_options: dict[str, Any] | None = None, **options: Any) -> Trainer:
    """Watch a Trainer, of any class, before it trains. Returns it.

    `options` are those of `wl.watch_loader` for the training data, `eval_options` those for the evaluation data, which
    is the split `val`, or one split per name when there are several. Each sample's loss is told from the logits and
    labels: classes (B, C), one number (B, 1), or tokens (B, T, C), whose mean over the labels that count it is.
    """
    wl.watch_model(trainer.model)
    if trainer.optimizer is not None:
        wl.watch_optimizer(trainer.optimizer)
    _Watching(trainer, options=options, eval_options=eval_options or {}).begin()
    return trainer


class _Watching:
    """Stands in front of the methods of one Trainer object, which a subclass may have overridden."""

    def __init__(self, trainer: Trainer, *, options: dict[str, Any], eval_options: dict[str, Any]) -> None:
        self._trainer = trainer
        self._options = options
        self._eval_options = eval_options
        self._loaders: dict[str, PlacedLoader] = {}
        # Batches that the Trainer has drawn, and trains on later: with gradient accumulation it draws several at once.
        self._drawn: deque[tuple[Any, Batch | None]] = deque()
        self._criterion = _Criterion(trainer)
        self._own = {
            name: getattr(trainer, name)
            for name in (
                "get_train_dataloader",
                "get_eval_dataloader",
                "create_optimizer",
                "training_step",
                "compute_loss",
            )
        }

    def begin(self) -> None:
        for name in self._own:
            setattr(self._trainer, name, getattr(self, name))
        self._trainer.add_callback(_Curves())

    def get_train_dataloader(self) -> _DrawnAhead:
        own = self._own["get_train_dataloader"]()
        self._drawn.clear()
        watched = watch_loader(self._trainer.accelerator, own, "train", train=True, **self._options)
        return _DrawnAhead(watched, self._drawn)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
        own = self._own["get_eval_dataloader"](eval_dataset)
        name = "val" if eval_dataset is None or eval_dataset is self._trainer.eval_dataset else eval_dataset
        if not isinstance(name, str):
            # Some other data than the Trainer's own: no split of the run.
            return own
        if name not in self._loaders:
            self._loaders[name] = watch_loader(self._trainer.accelerator, own, name, train=False, **self._eval_options)
        return self._loaders[name]

    def create_optimizer(self, *arguments: Any, **named: Any) -> torch.optim.Optimizer:
        # Before it is prepared: a gradient scaler keeps the step that it finds then.
        optimizer: torch.optim.Optimizer = self._own["create_optimizer"](*arguments, **named)
        return wl.watch_optimizer(optimizer)

    def training_step(self, model: Any, inputs: Any, *arguments: Any, **named: Any) -> torch.Tensor:
        while self._drawn:
            data, batch = self._drawn.popleft()
            if data is inputs:
                api._run().batch = batch
                break
        loss: torch.Tensor = self._own["training_step"](model, inputs, *arguments, **named)
        return loss

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **named: Any) -> Any:
        # The Trainer takes the labels out of `inputs` when it computes the loss itself.
        labels = inputs.get((self._trainer.label_names or ["labels"])[0])
        loss, outputs = self._own["compute_loss"](model, inputs, return_outputs=True, **named)
        self._criterion.tell(loss, outputs, labels)
        return (loss, outputs) if return_outputs else loss


class _DrawnAhead:
    """The training loader, which keeps whose samples are in each batch until it is trained on."""

    def __init__(self, loader: PlacedLoader, drawn: deque[tuple[Any, Batch | None]]) -> None:
        self._loader = loader
        self._drawn = drawn

    def __getattr__(self, name: str) -> Any:
        if name == "_loader":
            raise AttributeError(name)
        return getattr(self._loader, name)

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Any]:
        for data in self._loader:
            self._drawn.append((data, api._run().batch))
            yield data


class _Criterion:
    """Tells the loss of each sample from what the model gave, without another pass through it."""

    def __init__(self, trainer: Trainer) -> None:
        self._shifts = type(trainer.model).__name__ in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()
        self._of_classes = wl.watch_loss(functional.cross_entropy)
        self._of_numbers = wl.watch_loss(torch.nn.MSELoss())
        self._of_tokens = wl.watch_loss(torch.nanmean, per_sample=lambda losses: losses)
        self._of_anything = wl.watch_metric(lambda loss: loss, "loss")

    @torch.no_grad()
    def tell(self, loss: torch.Tensor, outputs: Any, labels: Any) -> None:
        if api._run().batch is None:
            return
        watched, arguments = self._choose(_logits(outputs), labels)
        watched(*(arguments or (loss,)))

    def _choose(self, logits: Any, labels: Any) -> tuple[Watched, tuple[torch.Tensor, ...]]:
        if not isinstance(logits, torch.Tensor) or not isinstance(labels, torch.Tensor):
            return self._of_anything, ()
        whole = not labels.is_floating_point()
        if logits.ndim == 2 and labels.ndim == 1 and whole and logits.shape[1] > 1:
            return self._of_classes, (logits, labels)
        if logits.ndim == 2 and logits.shape[1] == 1 and labels.numel() == len(logits):
            return self._of_numbers, (logits[:, 0], labels.reshape(-1).to(logits.dtype))
        if logits.ndim == 3 and labels.shape == logits.shape[:2] and whole:
            return self._of_tokens, (self._token_losses(logits, labels),)
        return self._of_anything, ()

    def _token_losses(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The mean cross-entropy of the tokens of each sample, (B,); NaN for one without a label."""
        if self._shifts:
            logits, labels = logits[:, :-1], labels[:, 1:]
        losses = functional.cross_entropy(
            logits.transpose(1, 2).float(), labels, reduction="none", ignore_index=_IGNORED_LABEL
        )
        return losses.sum(1) / (labels != _IGNORED_LABEL).sum(1)


class _Curves(TrainerCallback):
    """What the Trainer logs becomes points of curves: `eval_accuracy` of `val/accuracy`, others of `train/…`."""

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        named = {
            name: value
            for name, value in (logs or {}).items()
            if name not in _NO_CURVES and not name.endswith(_NO_CURVE_ENDS)
        }
        splits = {f"eval_{split}_": split for split in api._run().splits}
        add_points(named, prefixes={**splits, "eval_": "val", "train_": "train"}, default="train")


def _logits(outputs: Any) -> Any:
    if isinstance(outputs, dict):
        return outputs.get("logits")
    return outputs[1] if isinstance(outputs, tuple) and len(outputs) > 1 else None
