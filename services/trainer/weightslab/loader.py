"""A watched loader: yields exactly what the user's loader yields, less the discarded samples, and knows which."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import BatchSampler, DataLoader, IterableDataset
from torch.utils.data.distributed import DistributedSampler

from weightslab import rng
from weightslab.batches import EpochPlan, PlanPosition
from weightslab.distributed import dealt
from weightslab.records import Batch
from weightslab.split import Split
from weightslab.streams import UidOf, named_loader

if TYPE_CHECKING:
    from weightslab.distributed import Peers
    from weightslab.run import Run

# Stands for the batch after the last.
_END = object()

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoaderPosition:
    """Where a loader stands. `started` tells how to draw the rest of the epoch again: the streams at its begin."""

    epoch: int
    active: bool
    plan: PlanPosition | None
    started: rng.RngState | None
    batch_size: int | None


class _PlannedBatches:
    """The batch sampler of the inner loader: draws from the plan of the present epoch."""

    def __init__(self, watched: WatchedLoader) -> None:
        self._watched = watched

    def __iter__(self) -> Iterator[Any]:
        plan = self._watched.plan()
        while (batch := plan.draw()) is not None:
            yield batch if self._watched.collates else batch[0]


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
        self.collates = loader.batch_sampler is not None
        self._run = run
        self._plan: EpochPlan | None = None
        self._started: rng.RngState | None = None
        self._resume_from: LoaderPosition | None = None
        self._version = 0
        self._doubtful_batches = 0
        # Applied at the next epoch.
        self.batch_size = self._own_batch_size()
        self._epoch_batch_size = self.batch_size
        self._is_stream = is_iterable(loader.dataset)
        if split is not None:
            self._inner = named_loader(loader, uid_of) if self._is_stream else self._inner_loader()
        else:
            self._inner = loader

    def __getattr__(self, name: str) -> Any:
        if name == "loader":
            raise AttributeError(name)
        return getattr(self.loader, name)

    def __len__(self) -> int:
        batch_size = self._epoch_batch_size if self._plan is not None else self.batch_size
        unchanged = batch_size is None or batch_size == self.loader.batch_size
        if self.split is None or self._is_stream or (unchanged and not self.split.version):
            return len(self.loader)
        active = len(self.split) - int(self.split.discarded.sum())
        if self._run.peers is not None and isinstance(self.loader.sampler, DistributedSampler):
            active = -(-active // self._run.peers.count)
        if batch_size is None:
            return min(len(self.loader), active)
        whole, rest = divmod(active, batch_size)
        return whole + (rest > 0 and not self.loader.drop_last)

    def __iter__(self) -> Iterator[Any]:
        # The loop may look into this loader, or another, while it iterates: what was current is current again after.
        before = self._run.batch, self._plan, self._started, self._epoch_batch_size
        self._plan = None
        length, yielded = self._length(), 0
        try:
            for data in self._batches():
                yielded += 1
                yield data
        except GeneratorExit:
            # A loop that counts by `len`, as most frameworks do, never asks for the batch after the last.
            if yielded == length:
                self.epoch += 1
            raise
        finally:
            self._run.batch, self._plan, self._started, self._epoch_batch_size = before

    @property
    def current_uids(self) -> list[str]:
        """The uids of the batch that was yielded last, in its order; none when it was of another loader."""
        batch = self._run.batch
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
        if self._resume_from is not None:
            return self._resume_from
        plan = self._plan.position() if self._plan else None
        return LoaderPosition(
            epoch=self.epoch,
            active=plan is not None,
            plan=plan,
            started=self._started if plan else None,
            batch_size=self._epoch_batch_size,
        )

    def move_to(self, position: LoaderPosition) -> None:
        """Go on from `position` with the next batch; what workers have drawn ahead is forgotten."""
        self._resume_from = position
        self._plan = None

    def close(self) -> None:
        """End persistent workers now: left to a garbage collection they end slowly."""
        object.__setattr__(self._inner, "_iterator", None)

    def plan(self) -> EpochPlan:
        assert self._plan is not None, "an epoch has begun"
        return self._plan

    def _length(self) -> int | None:
        try:
            return len(self)
        except TypeError:
            # An iterable dataset need not know.
            return None

    def _batches(self) -> Iterator[Any]:
        if self.split is None:
            return self._unnamed_batches()
        return self._stream_batches(self.split) if self._is_stream else self._epoch_batches()

    def _unnamed_batches(self) -> Iterator[Any]:
        """Batches of an iterable dataset: their samples have no positions."""
        for data in self._inner:
            self._run.gate.arrive()
            self._run.batch = None
            yield data
        self.epoch += 1

    def _stream_batches(self, split: Split) -> Iterator[Any]:
        """Batches of an iterable dataset whose samples have names, without those discarded now."""
        if self._resume_from is not None:
            # A stream cannot be moved: its epoch begins anew.
            self.epoch, self._resume_from = self._resume_from.epoch, None
        yielded = False
        while not yielded:
            for named in self._inner:
                self._run.arrive()
                samples = self._admit_stream(split, named)
                if samples:
                    yielded = True
                    yield self.loader.collate_fn(samples if self.collates else samples[0])
            if yielded or not self._starved() or self._passes_over():
                break
            self._wait_for_samples()
        self.epoch += 1

    def _admit_stream(self, split: Split, named: list[tuple[str, Any]]) -> list[Any]:
        """The samples that are active now; they are the current batch. Under the lock of the edits."""
        positions = split.positions_of([uid for uid, _ in named])
        run = self._run
        with run.edit_lock:
            active = ~split.discarded[positions]
            if not active.any():
                return []
            run.yielded_step = run.step
            run.sample_count += int(active.sum())
            run.batch = Batch(split, positions[active], self.epoch)
        return [sample for (_, sample), kept in zip(named, active.tolist(), strict=True) if kept]

    def _passes_over(self) -> bool:
        """Whether an epoch without samples is left out, which is said; a loader that trains waits instead."""
        if not self.train:
            log.warning("split %r has no active samples: this pass over it is left out", self.name)
        return not self.train

    def _epoch_batches(self) -> Iterator[Any]:
        yielded = 0
        while True:
            inner = self._begin()
            for data in self._deliver(inner):
                yielded += 1
                yield data
            if self._resume_from is not None:
                continue
            if self.plan().has_returned if self._peers is None else self._peers.all_have(self.plan().has_returned):
                continue
            if yielded or not self._starved() or self._passes_over():
                break
            self._plan = None
            self._wait_for_samples()
        self._plan = None
        self.epoch += 1

    def _deliver(self, inner: Iterator[Any]) -> Iterator[Any]:
        """Batches of one run over the inner loader; ends early when the loader is to be moved."""
        while True:
            self._run.arrive()
            if self._resume_from is not None:
                return
            data = next(inner, _END)
            if self._peers is not None and not self._peers.agree(has_batch=data is not _END):
                return
            if data is _END or self._resume_from is not None:
                return
            if self._admit():
                yield data

    def _admit(self) -> bool:
        """Whether the batch that has come may be yielded; else its active samples are put back.

        Under the lock of the edits, so that an edit knows from which step it holds.
        """
        run, split, plan = self._run, self.split, self.plan()
        assert split is not None
        with run.edit_lock:
            doubtful = self._doubtful()
            indices = plan.arrived()
            kept = split.active(indices)
            fits = len(kept) == len(indices)
            if doubtful and self._peers is not None:
                fits = self._peers.all_have(fits)
            if not fits:
                plan.put_back(kept)
                return False
            run.yielded_step = run.step
            run.sample_count += len(indices) * (1 if self._peers is None else self._peers.count)
            run.batch = Batch(split, np.array(indices, dtype=np.uint32), self.epoch)
            return True

    @property
    def _peers(self) -> Peers | None:
        return self._run.peers if self.train else None

    def _doubtful(self) -> bool:
        """Whether the batch that has come was drawn before the discards changed. All ranks say the same."""
        assert self.split is not None
        if self._version != self.split.version:
            self._version = self.split.version
            self._doubtful_batches = len(self.plan().in_flight)
        self._doubtful_batches -= 1
        return self._doubtful_batches >= 0

    def _begin(self) -> Iterator[Any]:
        """An iterator of the inner loader over what is left of this epoch, or over a new epoch."""
        if self._resume_from is None:
            self._run.arrive()
        if self._resume_from is not None:
            return self._rejoin(self._resume_from)
        if self._plan is not None:
            # The workers' queue ran dry while samples were put back.
            with rng.preserved(self.generators):
                return iter(self._inner)
        self._started = rng.capture(self.generators)
        self._epoch_batch_size = self.batch_size
        self._plan = self._new_plan()
        return iter(self._inner)

    def _rejoin(self, position: LoaderPosition) -> Iterator[Any]:
        self._resume_from = None
        self.epoch = position.epoch
        if not position.active:
            return self._begin()
        assert position.started is not None
        assert position.plan is not None
        with rng.preserved(self.generators):
            # Draw the user's sampler again as it was drawn at the begin of the epoch, up to where it stood.
            rng.restore(position.started, self.generators)
            self._started = position.started
            self._epoch_batch_size = position.batch_size
            # The loader draws its seed before it asks its sampler.
            torch.empty((), dtype=torch.int64).random_(generator=self.loader.generator)
            self._plan = self._new_plan()
            self._plan.move_to(position.plan)
            return iter(self._inner)

    def _new_plan(self) -> EpochPlan:
        assert self.split is not None
        if not self.collates:
            source: Iterator[Any] = ((index,) for index in self.loader.sampler)
        elif self._epoch_batch_size is None:
            source = iter(self.loader.batch_sampler or ())
        else:
            source = iter(self._single_indices())
        return EpochPlan(
            source,
            batch_size=self._epoch_batch_size if self.collates else None,
            drop_last=bool(self.loader.drop_last),
            active=self.split.active,
        )

    def _single_indices(self) -> Iterator[int]:
        # A generator, so that the sampler draws its seed when the first batch is drawn, as in the user's loader.
        sampler = self.loader.sampler
        if self._run.peers is not None and self.split is not None and isinstance(sampler, DistributedSampler):
            yield from dealt(sampler, active=self.split.active)
        else:
            yield from sampler

    def _own_batch_size(self) -> int | None:
        """The batch size when the batches are made by torch's own batch sampler; None when the user makes them."""
        return self.loader.batch_size if type(self.loader.batch_sampler) is BatchSampler else None

    def _inner_loader(self) -> DataLoader[Any]:
        """The user's loader with our batch sampler in place of its own; workers, collation and the rest are kept."""
        inner = copy.copy(self.loader)
        sampler: Any = _PlannedBatches(self)
        # `DataLoader` forbids to set these after it was made.
        object.__setattr__(inner, "batch_sampler" if self.collates else "sampler", sampler)
        object.__setattr__(inner, "_iterator", None)
        # Batches are told apart by their order.
        object.__setattr__(inner, "in_order", True)
        return inner

    def _starved(self) -> bool:
        """Whether an epoch gave nothing because samples are discarded."""
        return self.split is not None and bool(self.split.discarded.any())

    def _wait_for_samples(self) -> None:
        split = self.split
        assert split is not None
        version = split.version
        active = len(split) - int(split.discarded.sum())
        if self._peers is not None:
            self._run.message = f"no active samples in split {split.name!r}: restore some to go on"
            self._run.changed()
            self._peers.wait_for_edit()
            self._run.message = ""
            return
        need = self._epoch_batch_size if self.loader.drop_last and self._epoch_batch_size else 1
        self._run.wait_for(
            lambda: split.version != version or self._resume_from is not None,
            message=f"no active samples in split {split.name!r}: restore some to go on"
            if active == 0
            else f"no active samples left for a whole batch in split {split.name!r}: {active} of {need}; restore some",
        )


def is_iterable(dataset: Any) -> bool:
    return isinstance(dataset, IterableDataset)
