"""Hugging Face Accelerate: a watched loader whose batches lie on the accelerator's device.

model = wl.watch_model(model)
optimizer = wl.watch_optimizer(optimizer)             # before `prepare`
model, optimizer = accelerator.prepare(model, optimizer)
loader = watch_loader(accelerator, loader)            # in place of `accelerator.prepare(loader)`
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from accelerate import Accelerator
from accelerate.utils import send_to_device
from torch.utils.data import DataLoader
from weightslab_common.errors import InvalidArgument

import weightslab as wl


class PlacedLoader:
    """Iterate over it: batches of a watched loader, moved to a device. Every other attribute is that loader's."""

    def __init__(self, watched: Any, accelerator: Accelerator) -> None:
        self.watched = watched
        self._accelerator = accelerator

    def __getattr__(self, name: str) -> Any:
        if name == "watched":
            raise AttributeError(name)
        return getattr(self.watched, name)

    def __len__(self) -> int:
        return len(self.watched)

    def __iter__(self) -> Iterator[Any]:
        for data in self.watched:
            yield send_to_device(data, self._accelerator.device)


def watch_loader(
    accelerator: Accelerator, loader: DataLoader[Any], split: str | None = None, **options: Any
) -> PlacedLoader:
    """As `wl.watch_loader`, with its options. Give it a loader that `prepare` has not seen.

    Raises InvalidArgument with more than one process: use `wl.watch_loader` under torch.distributed then.
    """
    if accelerator.num_processes > 1:
        raise InvalidArgument(
            f"the adapter for Accelerate watches one process, this run has {accelerator.num_processes}: "
            "train with torch.distributed and `wl.watch_loader`"
        )
    # A prepared loader draws from the one that it was made from.
    return PlacedLoader(wl.watch_loader(getattr(loader, "base_dataloader", loader), split, **options), accelerator)
