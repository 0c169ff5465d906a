"""A watched loader: yields exactly what the user's loader yields, less the discarded samples, and knows which."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from types import NoneType
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from torch.utils.data.distributed import DistributedSampler

from weightslab.loader_pass import LoaderPass, LoaderPosition
from weightslab.split import Split
from weightslab.stream_pass import StreamPass
from weightslab.streams import UidOf, named_loader
from weightslab.worker_streams import WorkerStreams

if TYPE_CHECKING:
    from weightslab.distributed import Peers
    from weightslab.run import Run

log = logging.getLogger(__name__)

# They draw from all of the data.
_WHOLE_SAMPLERS: set[type] = {SequentialSampler, RandomSampler, WeightedRandomSampler, DistributedSampler}


class _PlannedBatches:
    """The batch sampler of the inner loader: what the pass that begins draws."""

    def __init__(self, watched: WatchedLoader) -> None:
        self._watched = watched
        self.beginning: LoaderPass | None = None

    def __len__(self) -> int:
        return len(self._watched)

    def __iter__(self) -> Iterator[Any]:
        assert self.beginning is not None, "the loader is iterated by a pass"
        return self.beginning.draws()


class WatchedLoader:
    """Iterate over it as over the loader it was made from; every other attribute is that loader's."""

    def __init__(
        self,
        loader: DataLoader[Any],
        *,
        run: Run,
        split: Split | None,
        name: str,
        train: bool,
        uid_of: UidOf | None = None,
    ) -> None:
        self.loader = loader
        self.split = split
        self.name = name
        self.train = train
        self.epoch = 0
        # The count of passes that were begun.
        self._begun = 0
        self.collates = loader.batch_sampler is not None
        self.run = run
        # The pass that yielded last and has not ended, and where the next one is to go on.
        self.current: LoaderPass | None = None
        self.resume_from: LoaderPosition | None = None
        # Applied at the next epoch.
        self.batch_size = self._own_batch_size()
        self._is_stream = is_iterable(loader.dataset)
        self._draws = _PlannedBatches(self)
        if split is None:
            self._inner = loader
        else:
            self._inner = named_loader(loader, uid_of) if self._is_stream else self._inner_loader()
        # A stream cannot be moved, and an unnamed one is left as it is.
        self.workers = WorkerStreams(self._inner, told=split is not None and not self._is_stream)

    def __getattr__(self, name: str) -> Any:
        if name == "loader":
            raise AttributeError(name)
        return getattr(self.loader, name)

    def __len__(self) -> int:
        """Batches of this epoch. With discards it is exact for samplers that draw each sample once, else expected."""
        batch_size = self.current.batch_size if self.current is not None else self.batch_size
        unchanged = batch_size is None or batch_size == self.loader.batch_size
        if self.split is None or self._is_stream or (unchanged and not self.split.version):
            return len(self.loader)
        active = len(self.split) - int(self.split.discarded.sum())
        if batch_size is None:
            return min(len(self.loader), active)
        whole, rest = divmod(self._drawn_count(active), batch_size)
        return whole + (rest > 0 and not self.loader.drop_last)

    def __iter__(self) -> Iterator[Any]:
        self.run.add_loader(self)
        length, yielded, begun_at = self._length(), 0, self.run.step
        self._begun = mine = self._begun + 1
        try:
            for data in self._batches():
                yielded += 1
                yield data
        except GeneratorExit:
            # A loop that counts by `len`, as most frameworks do, never asks for the batch after the last; others leave
            # by `break`. A look at one batch is no epoch, nor is a check of the validation before the first step, nor
            # what somebody forgot while another pass began.
            step = self.run.step
            used = step > begun_at if self.train else step > 0 and yielded > 1
            if yielded == length or (used and self._begun == mine):
                self.epoch += 1
            raise

    @property
    def has_been_through(self) -> bool:
        """Whether it has passed an epoch, and none is under way."""
        return self.epoch > 0 and self.current is None

    @property
    def current_uids(self) -> list[str]:
        """The uids of the batch that it yielded last, in its order; none between passes."""
        # Of several loaders that are drawn from in turn each knows its own.
        batch = self.run.batch if self.current is None else self.current.batch
        if batch is None or batch.split is not self.split:
            return []
        return [batch.split.catalog.uids[position] for position in batch.positions]

    @property
    def generators(self) -> list[torch.Generator]:
        """The user's generators that this loader draws from, each once."""
        batch_sampler = self.loader.batch_sampler
        owners = (self.loader, self.loader.sampler, batch_sampler, getattr(batch_sampler, "sampler", None))
        found = {id(g): g for g in (getattr(owner, "generator", None) for owner in owners) if g is not None}
        return list(found.values())

    def position(self) -> LoaderPosition:
        """Where this loader stands, before the next batch that it yields."""
        if self.resume_from is not None:
            return self.resume_from
        position = self.current.position() if self.current is not None else None
        return position or LoaderPosition(
            epoch=self.epoch,
            active=False,
            plan=None,
            started=None,
            batch_size=self.batch_size,
            workers=self.workers.position(),
        )

    def move_to(self, position: LoaderPosition) -> None:
        """Go on from `position` with the next batch; what workers have drawn ahead is forgotten."""
        self.resume_from = position

    def iterate(self, beginning: LoaderPass) -> Iterator[Any]:
        """A run of the inner loader over what `beginning` draws."""
        self._draws.beginning = beginning
        return iter(self._inner)

    def close(self) -> None:
        """End persistent workers now: left to a garbage collection they end slowly."""
        self.workers.close()

    def passes_over(self) -> bool:
        """Whether an epoch without samples is left out, which is said; a loader that trains waits instead."""
        if not self.train:
            log.warning("split %r has no active samples: this pass over it is left out", self.name)
        return not self.train

    def wait_for_samples(self, *, batch_size: int | None) -> None:
        """Hold the loop, and say why, until the discards change."""
        split = self.split
        assert split is not None
        version = split.version
        active = len(split) - int(split.discarded.sum())
        if self.peers is not None:
            self.run.message = f"no active samples in split {split.name!r}: restore some to go on"
            self.run.changed()
            self.peers.wait_for_edit()
            self.run.message = ""
            return
        need = batch_size if self.loader.drop_last and batch_size else 1
        self.run.wait_for(
            lambda: split.version != version or self.resume_from is not None,
            message=f"no active samples in split {split.name!r}: restore some to go on"
            if active == 0
            else f"no active samples left for a whole batch in split {split.name!r}: {active} of {need}; restore some",
        )

    @property
    def peers(self) -> Peers | None:
        """The other ranks, when there are some and this loader feeds the optimizer."""
        return self.run.peers if self.train else None

    def _length(self) -> int | None:
        try:
            return len(self)
        except TypeError:
            # An iterable dataset need not know.
            return None

    def _batches(self) -> Iterator[Any]:
        if self.split is None:
            return self._unnamed_batches()
        if self._is_stream:
            return StreamPass(self, self.split, self._inner).batches()
        return LoaderPass(self, self.split).batches()

    def _unnamed_batches(self) -> Iterator[Any]:
        """Batches of an iterable dataset: their samples have no positions."""
        for data in self._inner:
            self.run.gate.arrive()
            self.run.batch = None
            yield data
        self.epoch += 1

    def _drawn_count(self, active: int) -> int:
        """How many samples an epoch draws when `active` of them are not discarded."""
        assert self.split is not None
        sampler = self.loader.sampler
        if isinstance(sampler, DistributedSampler) and self.run.peers is not None:
            return -(-active // self.run.peers.count)
        return round(len(sampler) * active / max(1, len(self.split)))  # type: ignore[arg-type]

    def _own_batch_size(self) -> int | None:
        """The batch size when the batches are made by torch's own batch sampler; None when the user makes them."""
        return self.loader.batch_size if type(self.loader.batch_sampler) is BatchSampler else None

    def _inner_loader(self) -> DataLoader[Any]:
        """The user's loader with our batch sampler in place of its own; workers, collation and the rest are kept."""
        inner = copy.copy(self.loader)
        sampler: Any = self._draws
        # `DataLoader` forbids to set these after it was made.
        object.__setattr__(inner, "batch_sampler" if self.collates else "sampler", sampler)
        object.__setattr__(inner, "_iterator", None)
        # Batches are told apart by their order.
        object.__setattr__(inner, "in_order", True)
        return inner


def same_draws(first: DataLoader[Any], second: DataLoader[Any]) -> bool:
    """Whether two loaders over the same data draw the same samples. Of samplers of the user nobody knows."""
    kinds = {type(first.sampler), type(second.sampler)}
    if len(kinds) > 1 or not kinds <= _WHOLE_SAMPLERS | {SubsetRandomSampler}:
        return False
    if any(type(loader.batch_sampler) not in (BatchSampler, NoneType) for loader in (first, second)):
        return False
    drawn, again = (list(getattr(loader.sampler, "indices", ())) for loader in (first, second))
    return drawn == again


def is_iterable(dataset: Any) -> bool:
    return isinstance(dataset, IterableDataset)
