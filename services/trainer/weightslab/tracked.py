"""Losses and metrics as older scripts call them: `criterion(outputs, targets, batch_ids=ids, preds=predictions)`."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from weightslab.identified import texts_of
from weightslab.losses import Watched

log = logging.getLogger(__name__)

_warned: set[tuple[str, ...]] = set()


def warn_unused(what: str, names: set[str]) -> None:
    """Say once that arguments of these names mean nothing here."""
    key = (what, *sorted(names))
    if names and key not in _warned:
        _warned.add(key)
        log.warning("%s: %s has no meaning here and is left aside", what, ", ".join(sorted(names)))


def class_numbers(predictions: Any, *, count: int) -> np.ndarray[Any, Any] | None:
    """One number per sample, when `predictions` are that; None for masks, boxes and the like."""
    if isinstance(predictions, torch.Tensor):
        predictions = predictions.detach().cpu().float()
    try:
        numbers = np.asarray(predictions, dtype=np.float32)
    except (TypeError, ValueError):
        return None
    return numbers.reshape(-1) if numbers.size == count and numbers.shape[:1] == (count,) else None


class Tracked:
    """A watched loss or metric that takes `batch_ids` and `preds`, which its own function need not know."""

    def __init__(self, watched: Watched, *, call: Any, keep_predictions: Callable[[list[str], Any], None]) -> None:
        self._watched = watched
        self._takes = _keywords(call)
        self._keep_predictions = keep_predictions

    def __getattr__(self, name: str) -> Any:
        if name == "_watched":
            raise AttributeError(name)
        return getattr(self._watched, name)

    def __call__(self, *args: Any, batch_ids: Any = None, preds: Any = None, **kwargs: Any) -> Any:
        if self._takes is not None:
            unknown = kwargs.keys() - self._takes
            warn_unused("a watched loss or metric", unknown)
            kwargs = {name: value for name, value in kwargs.items() if name not in unknown}
            if preds is not None and "preds" in self._takes:
                kwargs["preds"] = preds
        uids = None if batch_ids is None else texts_of(batch_ids)
        result = self._watched(*args, uids=uids, **kwargs)
        if preds is not None and uids is not None:
            self._keep_predictions(uids, preds)
        return result

    def to(self, *args: Any, **kwargs: Any) -> Tracked:
        """Move what is watched; it stays watched."""
        self._watched.to(*args, **kwargs)
        return self


class TrackedMetric(Tracked):
    """A metric with `update`, `compute` and `reset`: what `compute` returns is published too."""

    def __init__(
        self, watched: Watched, *, computed: Watched, call: Any, keep_predictions: Callable[[list[str], Any], None]
    ) -> None:
        super().__init__(watched, call=call, keep_predictions=keep_predictions)
        self._computed = computed

    def compute(self) -> Any:
        return self._computed()


def _keywords(call: Any) -> set[str] | None:
    """Names of arguments that `call` takes; None when it takes any."""
    function = call.forward if isinstance(call, torch.nn.Module) else call
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return {parameter.name for parameter in parameters}
