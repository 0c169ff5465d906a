"""The random streams of loader workers, told with each batch, so that workers that are started again go on with them.

A role is what a worker would be in a loader that was never started again: role 0 loads the first batch of an epoch,
role 1 the second, and so on in turn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader, get_worker_info

from weightslab import rng

Batch = list[int]


@dataclass(frozen=True, slots=True)
class WorkerPosition:
    """Where the workers of a loader stand.

    `streams` are uint8 tensors by role, None where a worker has not told its own yet. Until all have, `delivered` are
    the batches that came in this epoch: loading them again brings fresh workers to the same place.
    """

    streams: list[torch.Tensor | None]
    next_role: int
    delivered: list[Batch] | None


class WorkerStreams:
    """What one loader knows of its workers. Without workers, or when they are not `told`, all of this does nothing."""

    def __init__(self, inner: DataLoader[Any], *, told: bool) -> None:
        self._inner = inner
        self._count = inner.num_workers if told else 0
        self._own_init: Callable[[int], None] | None = inner.worker_init_fn
        self._known: dict[int, bytes] = {}
        # The role of worker 0, and of the worker that loads the next batch.
        self._first_role = 0
        self._next_role = 0
        self._delivered: list[Batch] | None = None
        if self._count:
            # `DataLoader` lets this be set.
            inner.collate_fn = _TellingCollate(inner.collate_fn)

    @property
    def running(self) -> bool:
        """Whether persistent workers wait for the next epoch."""
        return self._inner._iterator is not None

    def close(self) -> None:
        """End persistent workers now: left to a garbage collection they end slowly."""
        object.__setattr__(self._inner, "_iterator", None)

    def position(self) -> WorkerPosition | None:
        if not self._count:
            return None
        known = [self._known.get(role) for role in range(self._count)]
        return WorkerPosition(
            streams=[None if each is None else torch.frombuffer(bytearray(each), dtype=torch.uint8) for each in known],
            next_role=self._next_role,
            delivered=None if self._delivered is None else [list(batch) for batch in self._delivered],
        )

    def begin_epoch(self) -> None:
        """The inner loader is about to begin a new epoch."""
        if self._first_role:
            # Persistent workers that were started again in the middle of an epoch stand in other places.
            self.close()
        if not self._inner.persistent_workers:
            self._known = {}
        if not self.running:
            self._start(first_role=0)
            self._delivered = [] if not self._known else None
        self._next_role = 0

    def begin_rest(self) -> None:
        """The inner loader is about to be asked once more in the same epoch."""
        if not self._inner.persistent_workers:
            self._known = {}
            self._start(first_role=0)
        self._delivered = None
        self._next_role = self._first_role

    def move_to(self, position: WorkerPosition | None, *, active: bool) -> list[Batch]:
        """Start workers again that go on from `position`; returns the batches that they are to load once more first."""
        self.close()
        self._known, self._delivered = {}, None
        if not self._count or position is None or len(position.streams) != self._count:
            self._start(first_role=0)
            return []
        if active and position.delivered is not None:
            self._start(first_role=0)
            self._delivered = []
            return position.delivered
        streams = enumerate(position.streams)
        self._known = {role: bytes(each.tolist()) for role, each in streams if each is not None}
        self._start(first_role=position.next_role if active else 0)
        return []

    def hear(self, loaded: Any) -> Any:
        """The user's data of what the inner loader gave."""
        if not isinstance(loaded, _Told):
            return loaded
        role = (loaded.worker + self._first_role) % self._count
        self._known[role] = loaded.streams
        self._next_role = (role + 1) % self._count
        return loaded.data

    def note(self, batch: Batch) -> None:
        """This batch came."""
        if self._delivered is None:
            return
        self._delivered.append(batch)
        if len(self._known) == self._count:
            self._delivered = None

    def _start(self, *, first_role: int) -> None:
        self._first_role = self._next_role = first_role
        if self._count:
            roles = [(worker + first_role) % self._count for worker in range(self._count)]
            streams = tuple(self._known.get(role) for role in roles)
            self._inner.worker_init_fn = _StreamsInit(self._own_init, streams) if any(streams) else self._own_init


class _Told(NamedTuple):
    """A batch, who loaded it, and the worker's streams after it. Pinning memory keeps such a tuple as it is."""

    data: Any
    worker: int
    streams: bytes


class _TellingCollate:
    """The user's collation, in a worker."""

    def __init__(self, collate: Callable[[Any], Any]) -> None:
        self._collate = collate

    def __call__(self, samples: Any) -> _Told:
        data = self._collate(samples)
        worker = get_worker_info()
        assert worker is not None, "it is called in workers only"
        return _Told(data, worker.id, rng.packed())


class _StreamsInit:
    """The user's `worker_init_fn`, then the streams with which this worker goes on."""

    def __init__(self, own: Callable[[int], None] | None, streams: tuple[bytes | None, ...]) -> None:
        self._own = own
        self._streams = streams

    def __call__(self, worker: int) -> None:
        if self._own is not None:
            self._own(worker)
        streams = self._streams[worker]
        if streams is not None:
            rng.unpack(streams)
