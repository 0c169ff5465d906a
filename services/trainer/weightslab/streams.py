"""Iterable datasets whose samples name themselves: the loader tells who is in a batch, so that some can be left out.

A stream gives its samples in its own order and only once, so a discarded sample is filtered out after it was read:
its batch is smaller by it. Samples are collated in the training process, because a worker does not know of an edit.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch.utils.data import DataLoader, IterableDataset
from weightslab_common.errors import InvalidArgument

UidOf = Callable[[Any], object]


class NamedStream(IterableDataset[tuple[str, Any]]):
    """The samples of `dataset`, each with its uid before it."""

    def __init__(self, dataset: Any, uid_of: UidOf | None) -> None:
        self._dataset = dataset
        self._uid_of = uid_of or _own_uid

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        for sample in self._dataset:
            yield str(self._uid_of(sample)), sample


def named_loader(loader: DataLoader[Any], uid_of: UidOf | None) -> DataLoader[Any]:
    """`loader`, yielding lists of (uid, sample) instead of collated batches."""
    named = copy.copy(loader)
    # `DataLoader` forbids to set some of these after it was made.
    for name, value in (
        ("dataset", NamedStream(loader.dataset, uid_of)),
        ("collate_fn", _as_list),
        ("pin_memory", False),
        ("_iterator", None),
    ):
        object.__setattr__(named, name, value)
    return named


def _as_list(drawn: Any) -> list[tuple[str, Any]]:
    return drawn if isinstance(drawn, list) else [drawn]


def _own_uid(sample: Any) -> object:
    if isinstance(sample, Mapping) and "uid" in sample:
        return sample["uid"]
    raise InvalidArgument("a sample of the stream does not name itself: give `uid_of`, or yield mappings with `uid`")
