"""One iteration over a watched loader: an epoch, or the rest of one.

Several may be under way at the same time, as in `zip(loader, loader)` or with an iterator that somebody forgot: each
has a plan of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data.distributed import DistributedSampler
from weightslab_common.errors import FailedPrecondition, InvalidArgument

from weightslab import rng
from weightslab.batches import EpochPlan, PlanPosition
from weightslab.distributed import dealt
from weightslab.records import Batch
from weightslab.worker_streams import WorkerPosition

if TYPE_CHECKING:
    from weightslab.loader import WatchedLoader
    from weightslab.split import Split

# Stands for the batch after the last.
_END = object()


@dataclass(frozen=True, slots=True)
class LoaderPosition:
    """Where a loader stands. `started` tells how to draw the rest of the epoch again: the streams at its begin.

    `seeded` tells whether the loader drew a seed for its workers at the begin, which persistent ones need only once.
    """

    epoch: int
    active: bool
    plan: PlanPosition | None
    started: rng.RngState | None
    batch_size: int | None
    seeded: bool = True
    workers: WorkerPosition | None = None


def position_from(saved: dict[str, Any]) -> LoaderPosition:
    """A position from the plain values of its fields."""
    plan, workers = saved["plan"], saved.get("workers")
    return LoaderPosition(
        epoch=saved["epoch"],
        active=saved["active"],
        plan=plan and PlanPosition(plan["consumed"], tuple(tuple(group) for group in plan["waiting"])),
        started=saved["started"],
        batch_size=saved["batch_size"],
        seeded=saved.get("seeded", True),
        workers=workers and WorkerPosition(**workers),
    )


class LoaderPass:
    """Iterate over `batches()` once. On the training thread."""

    def __init__(self, loader: WatchedLoader, split: Split) -> None:
        self._loader = loader
        self._run = loader.run
        self._split = split
        # The one that was yielded last.
        self.batch: Batch | None = None
        self._plan: EpochPlan | None = None
        self._started: rng.RngState | None = None
        self._seeded = True
        self.batch_size = loader.batch_size
        # Where the plan is to be moved before it is asked first.
        self._moving_to: LoaderPosition | None = None
        self._repeated: list[list[int]] = []
        self._version = split.version
        self._doubtful_batches = 0

    def batches(self) -> Iterator[Any]:
        """What the user's loader would yield, without discarded samples."""
        loader, run = self._loader, self._run
        outer = loader.current
        run.passes.append(self)
        try:
            yield from self._epoch()
        finally:
            # The loop may look into this loader, or another, while it iterates: what was current is current again. But
            # an iterator that was forgotten ends when it is collected, and then it is none of its business.
            run.end_pass(self)
            if loader.current is self:
                loader.current = outer if outer in run.passes else None

    def position(self) -> LoaderPosition | None:
        """Where this pass stands, before the next batch that it yields; None between epochs."""
        if self._plan is None:
            return None
        return LoaderPosition(
            epoch=self._loader.epoch,
            active=True,
            plan=self._plan.position(),
            started=self._started,
            batch_size=self.batch_size,
            seeded=self._seeded,
            workers=self._loader.workers.position(),
        )

    def draws(self) -> Iterator[Any]:
        """What the inner loader is to load, as it asks for it."""
        self._catch_up()
        plan = self._plan
        assert plan is not None
        while (batch := plan.draw()) is not None:
            yield batch if self._loader.collates else batch[0]

    def _epoch(self) -> Iterator[Any]:
        loader = self._loader
        yielded = False
        while True:
            inner: Iterator[Any] | None = self._begin()
            assert inner is not None
            for data in self._deliver(inner):
                yielded = True
                yield data
            # Workers that are started again must not meet the old ones.
            inner = None
            if loader.resume_from is not None or self._has_returned():
                continue
            if yielded or not self._split.discarded.any() or loader.passes_over():
                break
            self._plan = None
            loader.wait_for_samples(batch_size=self.batch_size)
        self._plan = None
        loader.epoch += 1

    def _deliver(self, inner: Iterator[Any]) -> Iterator[Any]:
        """Batches of one run over the inner loader; ends early when the loader is to be moved."""
        loader, plan = self._loader, self._plan
        assert plan is not None
        while True:
            self._run.arrive()
            if loader.resume_from is not None:
                return
            loaded = next(inner, _END)
            if self._loader.peers is not None and not self._loader.peers.agree(has_batch=loaded is not _END):
                return
            if loaded is _END or loader.resume_from is not None:
                return
            data = loader.workers.hear(loaded)
            if not plan.in_flight:
                raise FailedPrecondition(
                    f"a {type(loader.loader).__name__} draws its batches by itself, so that nobody knows who is in "
                    "them: watch a plain DataLoader, which with persistent_workers=True starts its workers once, too"
                )
            if self._admit():
                yield data

    def _admit(self) -> bool:
        """Whether the batch that has come may be yielded; else its active samples are put back.

        Under the lock of the edits, so that an edit knows from which step it holds.
        """
        run, split, plan = self._run, self._split, self._plan
        assert plan is not None
        with run.edit_lock:
            doubtful = self._doubtful(plan)
            indices = plan.arrived()
            self._loader.workers.note(indices)
            kept = split.active(indices)
            fits = len(kept) == len(indices)
            if doubtful and self._loader.peers is not None:
                fits = self._loader.peers.all_have(fits)
            if not fits:
                plan.put_back(kept)
                return False
            run.yielded_step = run.step
            run.sample_count += len(indices) * (1 if self._loader.peers is None else self._loader.peers.count)
            positions = np.array(indices, dtype=np.uint32)
            if positions.ndim != 1:
                raise InvalidArgument(f"the sampler draws {indices[0]!r}: a sample is drawn by its index alone")
            run.batch = self.batch = Batch(split, positions, self._loader.epoch)
            self._loader.current = self
            return True

    def _doubtful(self, plan: EpochPlan) -> bool:
        """Whether the batch that has come was drawn before the discards changed. All ranks say the same."""
        if self._version != self._split.version:
            self._version = self._split.version
            self._doubtful_batches = len(plan.in_flight)
        self._doubtful_batches -= 1
        return self._doubtful_batches >= 0

    def _has_returned(self) -> bool:
        """Whether samples that were drawn once wait to be drawn again."""
        assert self._plan is not None
        has = self._plan.has_returned
        return has if self._loader.peers is None else self._loader.peers.all_have(has)

    def _begin(self) -> Iterator[Any]:
        """An iterator of the inner loader over what is left of this epoch, or over a new epoch."""
        loader = self._loader
        if loader.resume_from is None:
            self._run.arrive()
        if loader.resume_from is not None:
            return self._rejoin(loader.resume_from)
        if self._plan is not None:
            # The workers' queue ran dry while samples were put back.
            loader.workers.begin_rest()
            with rng.preserved(loader.generators):
                return loader.iterate(self)
        loader.workers.begin_epoch()
        self._seeded = not loader.workers.running
        self._started = rng.capture(loader.generators)
        self.batch_size = loader.batch_size
        self._plan = self._new_plan()
        loader.current = self
        return loader.iterate(self)

    def _rejoin(self, position: LoaderPosition) -> Iterator[Any]:
        loader = self._loader
        loader.resume_from = None
        loader.epoch = position.epoch
        self._repeated = loader.workers.move_to(position.workers, active=position.active)
        if not position.active:
            self._plan = None
            return self._begin()
        assert position.started is not None
        self._started, self._seeded = position.started, position.seeded
        self.batch_size = position.batch_size
        self._plan = self._new_plan()
        self._moving_to = position
        loader.current = self
        with rng.preserved(loader.generators):
            # The loader draws the seed of its workers as it did at the begin of the epoch.
            rng.restore(position.started, loader.generators)
            inner = loader.iterate(self)
            self._catch_up()
        for _ in self._repeated:
            loader.workers.hear(next(inner))
            loader.workers.note(self._plan.arrived())
        return inner

    def _catch_up(self) -> None:
        """Draw the user's sampler again as it was drawn since the begin of the epoch, up to where it stood."""
        position, self._moving_to = self._moving_to, None
        if position is None:
            return
        assert position.started is not None
        assert position.plan is not None
        assert self._plan is not None
        generator = self._loader.loader.generator
        rng.restore(position.started, self._loader.generators)
        if position.seeded:
            # The loader draws its seed before it asks its sampler.
            torch.empty((), dtype=torch.int64).random_(generator=generator)
        self._plan.move_to(position.plan, repeated=self._repeated)

    def _new_plan(self) -> EpochPlan:
        loader = self._loader.loader
        if not self._loader.collates:
            source: Iterator[Any] = ((index,) for index in loader.sampler)
        elif self.batch_size is None:
            source = iter(loader.batch_sampler or ())
        else:
            source = iter(self._single_indices())
        return EpochPlan(
            source,
            batch_size=self.batch_size if self._loader.collates else None,
            drop_last=bool(loader.drop_last),
            active=self._split.active,
        )

    def _single_indices(self) -> Iterator[int]:
        # A generator, so that the sampler draws its seed when the first batch is drawn, as in the user's loader.
        sampler = self._loader.loader.sampler
        if self._run.peers is not None and isinstance(sampler, DistributedSampler):
            yield from dealt(sampler, active=self._split.active)
        else:
            yield from sampler
