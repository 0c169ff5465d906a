"""What a loader draws next: indices in the user's order, without discarded samples, nothing lost and nothing doubled.

A pure core: it knows neither torch nor threads. Batches that were drawn ahead by workers stand in `in_flight` until
they are yielded or taken back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any


@dataclass(frozen=True, slots=True)
class PlanPosition:
    """Where an epoch stands: how much of the user's sampler was used, and what was taken from it but not yielded."""

    consumed: int
    # Groups of indices, in the order in which they come next.
    waiting: tuple[tuple[int, ...], ...]


class EpochPlan:
    """The batches of one epoch.

    `source` gives single indices, which are grouped here by `batch_size` and `drop_last`; with `batch_size` None it
    gives whole groups (a batch sampler of the user), which keep their members but for the discarded ones.
    `active` returns the given indices without those discarded at that moment.
    """

    def __init__(
        self,
        source: Iterator[int] | Iterator[Sequence[int]],
        *,
        batch_size: int | None,
        drop_last: bool,
        active: Callable[[Sequence[int]], list[int]],
    ) -> None:
        self._source = source
        self._batch_size = batch_size
        self._drop_last = drop_last
        self._active = active
        self._consumed = 0
        self._returned: deque[tuple[int, ...]] = deque()
        self._repeated: deque[list[int]] = deque()
        self.in_flight: deque[list[int]] = deque()

    @property
    def has_returned(self) -> bool:
        """Whether samples that were drawn once wait to be drawn again."""
        return sum(map(len, self._returned)) >= (self._batch_size or 1 if self._drop_last else 1)

    def draw(self) -> list[int] | None:
        """The next batch, now in flight; None when the epoch has no more."""
        if self._repeated:
            batch: list[int] | None = self._repeated.popleft()
        else:
            batch = self._draw_group() if self._batch_size is None else self._draw_samples(self._batch_size)
        if batch is not None:
            self.in_flight.append(batch)
        return batch

    def arrived(self) -> list[int]:
        """Take the oldest batch in flight, whose data has come."""
        return self.in_flight.popleft()

    def put_back(self, indices: Sequence[int]) -> None:
        """Draw these again before anything else; discarded ones are left out then."""
        if indices:
            self._returned.append(tuple(indices))

    def take_back_flight(self) -> None:
        """Put back everything in flight, because its data will not come."""
        self._returned.extendleft(tuple(batch) for batch in reversed(self.in_flight))
        self.in_flight.clear()

    def position(self) -> PlanPosition:
        return PlanPosition(
            consumed=self._consumed, waiting=(*(tuple(batch) for batch in self.in_flight), *self._returned)
        )

    def move_to(self, position: PlanPosition, *, repeated: Sequence[Sequence[int]] = ()) -> None:
        """Advance a fresh plan to `position`, and draw the batches `repeated` before what comes next."""
        for _ in islice(self._source, position.consumed):
            pass
        self._consumed = position.consumed
        self._returned.extend(position.waiting)
        self._repeated.extend(list(batch) for batch in repeated)

    def _take(self, count: int) -> list[Any]:
        """At most `count` items of the source."""
        items = list(islice(self._source, count))
        self._consumed += len(items)
        return items

    def _draw_group(self) -> list[int] | None:
        while True:
            if self._returned:
                group: Sequence[int] = self._returned.popleft()
            elif taken := self._take(1):
                group = taken[0]
            else:
                return None
            if kept := self._active(group):
                return kept

    def _draw_samples(self, batch_size: int) -> list[int] | None:
        batch: list[int] = []
        while (room := batch_size - len(batch)) > 0:
            if self._returned:
                kept = self._active(self._returned.popleft())
                batch += kept[:room]
                if kept[room:]:
                    self._returned.appendleft(tuple(kept[room:]))
            elif taken := self._take(room):
                batch += self._active(taken)
            else:
                break
        if len(batch) < batch_size and self._drop_last:
            # Kept, so that samples that are put back later can still fill it up.
            self.put_back(batch)
            return None
        return batch or None
