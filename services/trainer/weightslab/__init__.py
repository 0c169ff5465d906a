"""WeightsLab: see which samples move the loss while a PyTorch model trains, and act on them at once."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from weightslab_common import __version__

if TYPE_CHECKING:
    from weightslab.api import (
        keep_serving,
        log_predictions,
        log_sample_signals,
        serve,
        stop,
        watch_hyperparameters,
        watch_loader,
        watch_loss,
        watch_metric,
        watch_model,
        watch_optimizer,
    )
    from weightslab.compatibility import (
        discard_samples,
        get_discarded_samples,
        get_samples_by_tag,
        guard_testing_context,
        guard_training_context,
        save_signals,
        start_training,
        tag_samples,
        watch_or_edit,
    )

__all__ = [
    "__version__",
    "discard_samples",
    "get_discarded_samples",
    "get_samples_by_tag",
    "guard_testing_context",
    "guard_training_context",
    "keep_serving",
    "log_predictions",
    "log_sample_signals",
    "save_signals",
    "serve",
    "start_training",
    "stop",
    "tag_samples",
    "watch_hyperparameters",
    "watch_loader",
    "watch_loss",
    "watch_metric",
    "watch_model",
    "watch_optimizer",
    "watch_or_edit",
]


_COMPATIBILITY = {
    "discard_samples",
    "get_discarded_samples",
    "get_samples_by_tag",
    "guard_testing_context",
    "guard_training_context",
    "save_signals",
    "start_training",
    "tag_samples",
    "watch_or_edit",
}


def __getattr__(name: str) -> Any:
    # torch is imported when something is watched, not before: the `weightslab` command needs none of it.
    if name in __all__:
        module = "weightslab.compatibility" if name in _COMPATIBILITY else "weightslab.api"
        # Kept, because this way costs more than most calls do, and some are made for every batch.
        found = globals()[name] = getattr(importlib.import_module(module), name)
        return found
    raise AttributeError(f"module 'weightslab' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
