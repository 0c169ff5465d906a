"""Datasets and loaders in the shape that older scripts expect: each sample names itself, `next` goes on for ever."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from typing import Any

from torch.utils.data import DataLoader, Dataset

from weightslab.loader import WatchedLoader

_WHOLE_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")


def handle_of(uid: str) -> int | str:
    """What a script gets for a uid: a number where the uid is the text of one, so that a batch of them is a tensor."""
    return int(uid) if _WHOLE_NUMBER.fullmatch(uid) else uid


def texts_of(handles: Any) -> list[str]:
    """The uids that a script gave back: a tensor, an array or a sequence of numbers or texts."""
    entries = handles.reshape(-1).tolist() if hasattr(handles, "tolist") else list(handles)
    return [str(entry.item() if hasattr(entry, "item") else entry) for entry in entries]


class IdentifiedDataset(Dataset[Any]):
    """Sample i of `watched_dataset` with its uid in second place: (input, uid, target, *rest)."""

    def __init__(self, dataset: Any, uids: Sequence[str]) -> None:
        self.watched_dataset = dataset
        self._handles = [handle_of(uid) for uid in uids]

    def __getattr__(self, name: str) -> Any:
        # Not `__getitems__`, by which torch would read samples that do not name themselves.
        if name == "watched_dataset" or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.watched_dataset, name)

    def __len__(self) -> int:
        return len(self._handles)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        sample = self.watched_dataset[index]
        if not isinstance(sample, tuple | list):
            sample = (sample,)
        return (sample[0], self._handles[index], *sample[1:])


def identified_loader(loader: DataLoader[Any], uids: Sequence[str]) -> DataLoader[Any]:
    """`loader`, reading from an IdentifiedDataset of its dataset."""
    identified = copy.copy(loader)
    # `DataLoader` forbids to set this after it was made.
    object.__setattr__(identified, "dataset", IdentifiedDataset(loader.dataset, uids))
    return identified


class SteppedLoader:
    """A watched loader that can also be stepped with `next`; one that trains begins its next epoch by itself."""

    def __init__(self, watched: WatchedLoader) -> None:
        self.watched = watched
        self._batches: Iterator[Any] | None = None

    def __getattr__(self, name: str) -> Any:
        if name == "watched":
            raise AttributeError(name)
        return getattr(self.watched, name)

    def __len__(self) -> int:
        return len(self.watched)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.watched)

    def __next__(self) -> Any:
        begun = self._batches is not None
        self._batches = self._batches or iter(self.watched)
        try:
            return next(self._batches)
        except StopIteration:
            self._batches = None
            if not begun or not self.watched.train:
                raise
        self._batches = iter(self.watched)
        return next(self._batches)
