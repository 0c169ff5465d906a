"""One iteration over a watched iterable dataset whose samples name themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from weightslab.records import Batch

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

    from weightslab.loader import WatchedLoader
    from weightslab.split import Split


class StreamPass:
    """Iterate over `batches()` once: what `named` gives, lists of (uid, sample), without those discarded now."""

    def __init__(self, loader: WatchedLoader, split: Split, named: DataLoader[Any]) -> None:
        self._loader = loader
        self._run = loader.run
        self._split = split
        self._named = named
        self.batch: Batch | None = None

    def batches(self) -> Iterator[Any]:
        self._run.passes.append(self)
        try:
            yield from self._epoch()
        finally:
            self._run.end_pass(self)

    def _epoch(self) -> Iterator[Any]:
        loader, user = self._loader, self._loader.loader
        if loader.resume_from is not None:
            # A stream cannot be moved: its epoch begins anew.
            loader.epoch, loader.resume_from = loader.resume_from.epoch, None
        yielded = False
        while not yielded:
            for named in self._named:
                self._run.arrive()
                samples = self._admit(named)
                if samples:
                    yielded = True
                    yield user.collate_fn(samples if loader.collates else samples[0])
            if yielded or not self._split.discarded.any() or loader.passes_over():
                break
            loader.wait_for_samples(batch_size=loader.batch_size)
        loader.epoch += 1

    def _admit(self, named: list[tuple[str, Any]]) -> list[Any]:
        """The samples that are active now; they are the current batch. Under the lock of the edits."""
        positions = self._split.positions_of([uid for uid, _ in named])
        run = self._run
        with run.edit_lock:
            active = ~self._split.discarded[positions]
            if not active.any():
                return []
            run.yielded_step = run.step
            run.sample_count += int(active.sum())
            run.batch = self.batch = Batch(self._split, positions[active], self._loader.epoch)
        return [sample for (_, sample), kept in zip(named, active.tolist(), strict=True) if kept]
