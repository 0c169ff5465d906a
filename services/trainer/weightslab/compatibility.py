"""The older API: `watch_or_edit` and what belongs to it, so that scripts written for it run as they are."""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from weightslab_common.errors import FailedPrecondition, InvalidArgument
from weightslab_proto.weightslab.v1 import EditOperation

from weightslab import api, sample_edits
from weightslab.hyperparameter_file import parsed
from weightslab.identified import SteppedLoader, identified_loader, texts_of
from weightslab.loader import is_iterable
from weightslab.losses import Watched
from weightslab.records import Batch, Record
from weightslab.run import unique_name
from weightslab.service import Service
from weightslab.split import uids_of
from weightslab.tracked import Tracked, TrackedMetric, class_numbers, warn_unused

log = logging.getLogger(__name__)

_FLAGS = {
    "model": "model",
    "data": "data",
    "dataset": "data",
    "dataloader": "data",
    "optimizer": "optimizer",
    "opt": "optimizer",
    "loss": "loss",
    "criterion": "loss",
    "signal": "loss",
    "metric": "metric",
    "hyperparameters": "hyperparameters",
    "hp": "hyperparameters",
    "params": "hyperparameters",
    "parameters": "hyperparameters",
    "logger": "logger",
}
_LOADER_OPTIONS = ("batch_size", "shuffle", "num_workers", "drop_last", "pin_memory", "collate_fn", "sampler")
_OPERATIONS = {"add": EditOperation.ADD_TAG, "set": EditOperation.ADD_TAG, "remove": EditOperation.REMOVE_TAG}


def watch_or_edit(obj: Any, obj_name: str | None = None, flag: str | None = None, **options: Any) -> Any:
    """Watch a model, data, an optimizer, a loss, a metric or hyperparameters; `flag` says which.

    Returns what the script is to use in place of `obj`. With `flag="data"` a dataset becomes a loader of
    (input, uid, target, *rest). Options that mean nothing here are left aside with one warning.
    Raises InvalidArgument for a flag that does not exist.
    """
    kind = _FLAGS.get((flag or _kind_of(obj)).lower())
    if kind is None:
        raise InvalidArgument(f"there is no flag {flag!r}; there are: {', '.join(_FLAGS)}")
    name = options.pop("signal_name", None) or options.pop("name", None) or obj_name
    options.pop("name", None)
    match kind:
        case "model":
            watched = _watch_model(obj, name, options)
        case "data":
            watched = _watch_data(obj, options.pop("loader_name", None) or name, options)
        case "optimizer":
            watched = api.watch_optimizer(obj, name or "optimizer")
        case "loss" | "metric":
            watched = _watch_signal(obj, kind, name)
            # Values of samples are published in any case.
            options.pop("per_sample", None)
            if options.get("log"):
                del options["log"]
        case "hyperparameters":
            watched = _watch_hyperparameters(obj, options)
        case _:
            watched = obj
    warn_unused(f"watch_or_edit with flag {kind!r}", set(options))
    return watched


class PhaseGuard(contextlib.AbstractContextManager["PhaseGuard"]):
    """Code inside trains, or does not: the watched models are set to `train()` or `eval()`."""

    def __init__(self, *, training: bool) -> None:
        self._training = training

    def __enter__(self) -> PhaseGuard:
        for model in api._run().models.values():
            model.train(self._training)
        return self

    def __exit__(self, *_: object) -> None:
        return None


guard_training_context = PhaseGuard(training=True)
guard_testing_context = PhaseGuard(training=False)


def save_signals(
    signals: Mapping[str, Any],
    batch_ids: Any = None,
    preds_raw: Any = None,
    targets: Any = None,
    preds: Any = None,
    step: int | None = None,
    log: bool = True,
) -> None:
    """Publish values of the samples that `batch_ids` names, and with `log` their mean as a point of a curve.

    A name with a slash is taken as it is, others become `<split>/<name>`. A single number is a point only. `preds`,
    one number per sample, becomes `<split>/prediction`; `preds_raw` and `targets` are not kept.
    """
    run = api._run()
    moment = run.moment() if step is None else run.moment()._replace(step=int(step))
    batch = None if batch_ids is None else _batch_of(texts_of(batch_ids))
    split = batch.split if batch else (run.batch.split if run.batch else None)
    for name, given in signals.items():
        values = _numbers(given)
        if values is None:
            warn_unused("save_signals", {f"{name}, which holds no numbers,"})
            continue
        signal = name if "/" in name or split is None else f"{split.name}/{name}"
        single = values.size == 1 and (batch is None or len(batch.positions) != 1)
        if not single and (batch is None or values.size != len(batch.positions)):
            raise InvalidArgument(
                f"{name} has {values.size} values for {0 if batch is None else len(batch.positions)} batch_ids"
            )
        with np.errstate(all="ignore"):
            mean = values.mean(dtype=np.float64) if log or single else None
        columns = {} if single else {signal.rpartition("/")[2]: values}
        run.ring.add(Record(moment, signal, mean, None if single else batch, columns, derive=None, ready=None))
    if preds is not None and batch is not None:
        _keep_predictions(texts_of(batch_ids), preds)


def tag_samples(sample_ids: Any, tag: str, mode: str = "add", *, origin: str | None = None) -> None:
    """Add a tag to samples, or remove it with `mode="remove"`; returns when it is on disk.

    `origin` names their split or loader; without it they are looked for in the split of the present batch and then in
    the others. Raises InvalidArgument for unknown samples, Unavailable when no ledger answers.
    """
    operation = _OPERATIONS.get(mode)
    if operation is None:
        raise InvalidArgument(f"there is no mode {mode!r}; there are: add, remove, set")
    sample_edits.edit(api._run(), _ledger(), sample_ids, operation=operation, tag=tag, origin=origin)


def discard_samples(sample_ids: Any, discarded: bool = True, *, origin: str | None = None) -> None:
    """Leave samples out of the training from the next batch on, or restore them; see `tag_samples`."""
    operation = EditOperation.DISCARD if discarded else EditOperation.RESTORE
    sample_edits.edit(api._run(), _ledger(), sample_ids, operation=operation, origin=origin)


def get_samples_by_tag(tag: str, origin: str | None = None, limit: int | None = None) -> list[int | str]:
    """The uids of the samples that have a tag, in one split when `origin` names it or its loader."""
    condition = f"tag({sample_edits.quoted(tag)})"
    return sample_edits.query(api._run(), _ledger(), condition, origin=origin, limit=limit)


def get_discarded_samples(origin: str | None = None, limit: int | None = None) -> list[int | str]:
    """The uids of the samples that are discarded, in one split when `origin` names it or its loader."""
    return sample_edits.query(api._run(), _ledger(), "discarded", origin=origin, limit=limit)


def start_training(timeout: float | None = None) -> None:
    """See that the training is not paused, after `timeout` seconds in which viewers can attach."""
    if timeout:
        time.sleep(timeout)
    gate = api._run().gate
    if not gate.finished:
        gate.resume()


def model_age() -> int:
    """The step of the run: what `get_age` of a watched model returns."""
    return api._run().step


def _kind_of(obj: Any) -> str:
    if isinstance(obj, torch.optim.Optimizer):
        return "optimizer"
    if isinstance(obj, DataLoader | torch.utils.data.Dataset):
        return "data"
    if isinstance(obj, torch.nn.modules.loss._Loss):
        return "loss"
    if isinstance(obj, torch.nn.Module):
        return "model"
    if isinstance(obj, Mapping | str | Path):
        return "hyperparameters"
    raise InvalidArgument(f"say by `flag` what a {type(obj).__name__} is: {', '.join(_FLAGS)}")


def _watch_model(model: Any, name: str | None, options: dict[str, Any]) -> Any:
    device = options.pop("device", None)
    if device is not None:
        model = model.to(device)
    if not hasattr(model, "get_age"):
        model.get_age = model_age
    return api.watch_model(model, name or "model")


def _watch_data(data: Any, name: str | None, options: dict[str, Any]) -> SteppedLoader:
    training = options.pop("is_training", None)
    chosen = {key: options.pop(key) for key in _LOADER_OPTIONS if key in options}
    loader = data if isinstance(data, DataLoader) else DataLoader(data, **chosen)
    split = None if name is None else re.sub(r"[ _-]?(data)?loader$", "", name, flags=re.IGNORECASE) or name
    if training is None and split is not None:
        training = split.lower().startswith("train")
    uids = options.pop("uids", None)
    if not is_iterable(loader.dataset):
        uids = uids_of(loader.dataset, uids)
        loader = identified_loader(loader, uids)
    watched = api.watch_loader(loader, split, train=training, uids=uids)
    if name is not None:
        others = {other.name: other for other in api._run().loaders if other is not watched}
        watched.name = unique_name(name, others)
    return SteppedLoader(watched)


def _watch_signal(call: Any, kind: str, name: str | None) -> Tracked:
    run = api._run()
    if kind == "loss":
        watched: Watched = api.watch_loss(call, name or "loss")
        # Cross-entropy over classes gives the predicted class already.
        keep = _no_predictions if type(call) is torch.nn.CrossEntropyLoss else _keep_predictions
        return Tracked(watched, call=call, keep_predictions=keep)
    watched = api.watch_metric(call, name or "metric")
    if hasattr(call, "compute"):
        computed = Watched(call.compute, run=run, name=name or "metric")
        return TrackedMetric(watched, computed=computed, call=call, keep_predictions=_keep_predictions)
    return Tracked(watched, call=call, keep_predictions=_keep_predictions)


def _watch_hyperparameters(given: Any, options: dict[str, Any]) -> Any:
    defaults = options.pop("defaults", None) or {}
    if isinstance(given, str | Path):
        path = Path(given)
        given = (parsed(path.read_text()) if path.exists() else None) or {}
    if isinstance(given, dict):
        for key, value in defaults.items():
            given.setdefault(key, value)
    return api.watch_hyperparameters(given)


def _ledger() -> Service:
    service = api._Present.service
    if service is None:
        raise FailedPrecondition("tags and discards are kept by the ledger: call serve() first")
    return service


def _batch_of(uids: Sequence[str]) -> Batch:
    run = api._run()
    split = sample_edits.split_with(run, uids)
    return Batch(split, split.positions_of(uids), run.batch.epoch if run.batch else run.epoch)


def _keep_predictions(uids: list[str], predictions: Any) -> None:
    numbers = class_numbers(predictions, count=len(uids))
    split = _batch_of(uids).split.name
    if numbers is not None:
        api.log_sample_signals(uids, split=split, prediction=numbers.tolist())
    elif _are_masks(predictions, count=len(uids)):
        api.log_predictions(uids, split=split, masks=predictions.detach().cpu())
    else:
        warn_unused("predictions", {"preds that are neither one number nor one mask per sample"})


def _are_masks(predictions: Any, *, count: int) -> bool:
    """Whether these are class ids of pixels, (B, H, W) or (B, Z, H, W)."""
    return (
        isinstance(predictions, torch.Tensor)
        and predictions.ndim in (3, 4)
        and len(predictions) == count
        and not predictions.is_floating_point()
    )


def _no_predictions(uids: list[str], predictions: Any) -> None:
    """They are published by the loss."""


def _numbers(given: Any) -> np.ndarray[Any, Any] | None:
    if isinstance(given, torch.Tensor):
        given = given.detach().float().cpu().numpy()
    try:
        return np.array(given, dtype=np.float32).reshape(-1)
    except (TypeError, ValueError):
        return None
