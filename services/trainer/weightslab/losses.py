"""Watched losses and metrics: the user's result is returned as it is; values of samples are handed off beside it.

For torch's own losses the values of the samples are computed a second time without reduction and without a graph,
so that value and gradient of the user's loss stay bit-identical. For cross-entropy nothing is computed on the training
thread: the logits are handed off.
"""

from __future__ import annotations

import copy
import functools
import inspect
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from weightslab import predictions
from weightslab.derivation import Columns, CrossEntropyTerms, binary, classification, regression
from weightslab.records import TRAIN_MODE, Batch, Record, Uids, copied_event, hand_off

if TYPE_CHECKING:
    from weightslab.run import Run

log = logging.getLogger(__name__)

# Above this many logits a batch is reduced where it is instead of copied.
_HAND_OFF_LOGITS = 256 * 1024
# Methods of a module that return it.
_CHAINED = frozenset(
    {"apply", "bfloat16", "cpu", "cuda", "double", "eval", "float", "half", "requires_grad_", "to", "train", "type"}
)


class Watched:
    """A callable in place of the user's; every other attribute is the user's."""

    def __init__(self, call: Callable[..., Any], *, run: Run, name: str) -> None:
        self._call = call
        self._run = run
        self._name = name
        # A name with a slash is a whole name; its columns stand beside it.
        self._column = name.rpartition("/")[2]
        self._warned = False

    def __getattr__(self, name: str) -> Any:
        if name == "_call":
            raise AttributeError(name)
        found = getattr(self._call, name)
        return functools.partial(self._chained, found) if name in _CHAINED else found

    def _chained(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """What returns the user's callable, as `to` does, returns what watches it."""
        result = method(*args, **kwargs)
        return self if result is self._call else result

    def __call__(self, *args: Any, uids: Uids | None = None, **kwargs: Any) -> Any:
        result = self._call(*args, **kwargs)
        batch = self._batch(uids)
        columns, derive = self._columns(args, kwargs, result=result, batch=batch)
        self._run.ring.add(_record(self._run, self._name, result=result, batch=batch, columns=columns, derive=derive))
        return result

    def _batch(self, uids: Uids | None) -> Batch | None:
        batch = self._run.batch
        if uids is None:
            return batch
        split = batch.split if batch else next(iter(self._run.splits.values()), None)
        if split is None:
            return None
        return Batch(split, split.positions_of(uids), batch.epoch if batch else 0)

    def _columns(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], *, result: Any, batch: Batch | None
    ) -> tuple[dict[str, Any], Callable[[dict[str, Any]], Columns] | None]:
        """Handed-off arrays with one entry per sample of the batch, and how columns are made of them."""
        values = _per_sample(result, batch)
        return ({self._column: hand_off(values)} if values is not None else {}), None

    def _fits(self, tensor: torch.Tensor, batch: Batch) -> bool:
        if tensor.ndim and len(tensor) == len(batch.positions):
            return True
        if not self._warned:
            self._warned = True
            log.warning(
                "%s was called with %s entries for a batch of %d samples: values of samples are not kept; "
                "give `uids=` to say whose they are",
                self._name,
                len(tensor) if tensor.ndim else "no",
                len(batch.positions),
            )
        return False


class WatchedLoss(Watched):
    """A loss of torch, or any callable that returns one value per sample or their mean."""

    def __init__(
        self, call: Callable[..., Any], *, run: Run, name: str, per_sample: Callable[..., torch.Tensor] | None
    ) -> None:
        super().__init__(call, run=run, name=name)
        self._terms = _cross_entropy_terms(call) if per_sample is None else None
        self._per_sample = per_sample or _without_reduction(call)
        self._outputs = _OUTPUTS_OF.get(type(call)) if per_sample is None else None
        # Made once, because what is derived by the same callable is derived together.
        self._derive_classes = _class_derivations(self._terms, self._column)
        self._derive_numbers = self._outputs and functools.partial(
            _derive_outputs, derive=self._outputs, name=self._column
        )
        if self._terms is not None and run.classification_loss is None:
            run.classification_loss = name

    @property
    def _predicts(self) -> bool:
        """Whether this is the loss whose outputs tell what the model predicts: one at most."""
        return self._run.classification_loss in (None, self._name)

    def _columns(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], *, result: Any, batch: Batch | None
    ) -> tuple[dict[str, Any], Callable[[dict[str, Any]], Columns] | None]:
        if not args and "input" in kwargs and "target" in kwargs:
            args = (kwargs["input"], kwargs["target"])
            kwargs = {name: value for name, value in kwargs.items() if name not in ("input", "target")}
        if batch is None or not args or not isinstance(args[0], torch.Tensor):
            return {}, None
        if not self._fits(args[0], batch):
            return {}, None
        if self._predicts and (self._terms or self._outputs) and _is_mask_batch(args, self._outputs):
            self._run.classification_loss = self._name
            self._keep_masks(args[0], batch)
        if self._derive_classes is not None and not (kwargs.keys() - {"reduction"}) and _is_class_batch(args):
            return {"logits": hand_off(args[0]), "targets": hand_off(args[1])}, self._derive_classes[self._predicts]
        if self._per_sample is None:
            return super()._columns(args, kwargs, result=result, batch=batch)
        with torch.no_grad():
            found = self._per_sample(*map(_detached, args), **{k: _detached(v) for k, v in kwargs.items()})
        values = _per_sample(found, batch)
        if values is None:
            return {}, None
        columns = {self._column: hand_off(values)}
        if not self._predicts or self._derive_numbers is None or not _is_number_batch(args):
            return columns, None
        self._run.classification_loss = self._name
        columns |= {"outputs": hand_off(args[0]), "targets": hand_off(args[1])}
        return columns, self._derive_numbers

    def _keep_masks(self, logits: torch.Tensor, batch: Batch) -> None:
        moment = self._run.moment()
        # What an audit sees must not replace what the training saw.
        if moment.mode == TRAIN_MODE:
            self._run.predictions.add(predictions.of_logits(moment, batch, logits))


def _record(
    run: Run,
    name: str,
    *,
    result: Any,
    batch: Batch | None,
    columns: dict[str, Any],
    derive: Callable[[dict[str, Any]], Columns] | None,
) -> Record:
    signal = name if "/" in name or batch is None else f"{batch.split.name}/{name}"
    ready = None
    if isinstance(result, torch.Tensor):
        on_device = result
        single = result if result.numel() == 1 else result.detach().float().mean()
        # On the CPU there is no device to wait for, and a number is the cheapest copy.
        result = single.item() if single.is_cpu else hand_off(single)
        ready = copied_event(on_device)
    return Record(run.moment(), signal, result, batch, columns, derive, ready)


def _class_derivations(terms: CrossEntropyTerms | None, name: str) -> dict[bool, Callable[..., Columns]] | None:
    """By whether the loss is the one that tells what the model predicts; other losses give their own values only."""
    if terms is None:
        return None
    return {
        True: functools.partial(_derive, terms=terms, name=name, names=None),
        False: functools.partial(_derive, terms=terms, name=name, names=(name,)),
    }


def _derive(columns: dict[str, Any], *, terms: CrossEntropyTerms, name: str, names: tuple[str, ...] | None) -> Columns:
    derived = classification(columns["logits"], columns["targets"], terms=terms, loss_name=name)
    return derived if names is None else {key: derived[key] for key in names}


def _derive_outputs(columns: dict[str, Any], *, derive: Callable[..., Columns], name: str) -> Columns:
    outputs, targets = (np.asarray(columns[key], dtype=np.float64).reshape(-1) for key in ("outputs", "targets"))
    return {name: columns[name].astype(np.float32), **derive(outputs, targets)}


# What the outputs of torch's other losses mean, when there is one number per sample.
_OUTPUTS_OF: dict[type, Callable[..., Columns]] = {
    torch.nn.MSELoss: regression,
    torch.nn.L1Loss: regression,
    torch.nn.SmoothL1Loss: regression,
    torch.nn.HuberLoss: regression,
    torch.nn.BCEWithLogitsLoss: binary,
}


def _is_number_batch(args: tuple[Any, ...]) -> bool:
    """Whether these are one number per sample, (B,) or (B, 1), and as many targets."""
    return bool(
        len(args) == 2
        and isinstance(args[1], torch.Tensor)
        and args[0].numel() == len(args[0])
        and args[1].shape == args[0].shape
    )


def _is_mask_batch(args: tuple[Any, ...], outputs: Callable[..., Columns] | None) -> bool:
    """Whether these are logits of pixels and their classes: of cross-entropy (B, C, …) and whole numbers (B, …),

    of binary cross-entropy (B, 1, …) and numbers of the same shape.
    """
    if len(args) != 2 or not isinstance(args[1], torch.Tensor) or args[0].ndim not in (4, 5):
        return False
    logits, targets = args
    if outputs is None:
        return targets.shape == (logits.shape[0], *logits.shape[2:]) and not targets.is_floating_point()
    return outputs is binary and logits.shape[1] == 1 and targets.shape == logits.shape


def _is_class_batch(args: tuple[Any, ...]) -> bool:
    """Whether these are logits (B, C) and class targets (B,), small enough to be copied."""
    if len(args) != 2 or not isinstance(args[1], torch.Tensor):
        return False
    logits, targets = args
    return bool(
        logits.ndim == 2
        and logits.shape[1] >= 2
        and targets.ndim == 1
        and not targets.is_floating_point()
        and logits.numel() <= _HAND_OFF_LOGITS
    )


def _per_sample(values: Any, batch: Batch | None) -> torch.Tensor | None:
    """`values` reduced to one float per sample of the batch; None when they do not have one entry per sample."""
    if batch is None or not isinstance(values, torch.Tensor) or not values.ndim:
        return None
    if len(values) != len(batch.positions):
        return None
    floats: torch.Tensor = values.detach().float()
    return floats if floats.ndim == 1 else floats.flatten(1).mean(1)


def _detached(value: Any) -> Any:
    return value.detach() if isinstance(value, torch.Tensor) else value


def _cross_entropy_terms(call: Callable[..., Any]) -> CrossEntropyTerms | None:
    if call is functional.cross_entropy:
        return CrossEntropyTerms()
    if type(call) is not torch.nn.CrossEntropyLoss:
        return None
    weight = None if call.weight is None else np.asarray(call.weight.tolist(), dtype=np.float64)
    return CrossEntropyTerms(weight=weight, ignore_index=call.ignore_index, label_smoothing=call.label_smoothing)


def _without_reduction(call: Callable[..., Any]) -> Callable[..., torch.Tensor] | None:
    """torch's own loss with `reduction="none"`; None for anything else, which must not be called twice."""
    module = getattr(type(call), "__module__", "")
    if isinstance(call, torch.nn.Module) and module == "torch.nn.modules.loss" and hasattr(call, "reduction"):
        unreduced: Any = copy.copy(call)
        unreduced.reduction = "none"
        return unreduced  # type: ignore[no-any-return]
    if getattr(call, "__module__", "") == "torch.nn.functional" and "reduction" in inspect.signature(call).parameters:
        return functools.partial(_call_unreduced, call)
    return None


def _call_unreduced(call: Callable[..., torch.Tensor], *args: Any, **kwargs: Any) -> torch.Tensor:
    return call(*args, **{**kwargs, "reduction": "none"})
