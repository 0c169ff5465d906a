"""What the training thread leaves behind: a bounded ring that the publisher thread empties."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from weightslab.split import Split

# int of the proto enum: the training thread must not pay for more.
TRAIN_MODE = 1
AUDIT_MODE = 2

# What a record takes beside its columns.
_RECORD_BYTES = 256

# How a loop names samples: one uid, a text or a whole number, per sample.
Uids = Sequence[object] | torch.Tensor | NDArray[Any]


class Moment(NamedTuple):
    """Where the run stands: what a value is marked with."""

    branch: str
    mode: int
    step: int


class Batch(NamedTuple):
    """The batch that a loader yielded last."""

    split: Split
    # uint32
    positions: NDArray[np.uint32]
    epoch: int


class Record(NamedTuple):
    """One call of a watched loss or metric, or values that the user logs.

    `result` is what was returned, `columns` are arrays as they were handed off; `derive` makes float32 columns, one
    value per sample, of them. All of that happens on the publisher thread.
    """

    moment: Moment
    signal: str
    result: Any
    batch: Batch | None
    columns: dict[str, Any]
    derive: Callable[[dict[str, Any]], dict[str, NDArray[np.float32]]] | None
    # A CUDA event after which the copies are complete.
    ready: Any


class CurvesRecord(NamedTuple):
    """Points of several curves at one moment. `columns` holds `norms`, one per entry of `signals`.

    Entries of the same signal are parts of one norm.
    """

    moment: Moment
    signals: tuple[str, ...]
    columns: dict[str, Any]
    # A CUDA event after which the copies are complete.
    ready: Any
    batch: Batch | None = None


class Handed(Protocol):
    """What a ring holds: arrays as they were handed off, and of which batch."""

    @property
    def batch(self) -> Batch | None: ...
    @property
    def columns(self) -> dict[str, Any]: ...
    @property
    def ready(self) -> Any: ...


HandedT = TypeVar("HandedT", bound=Handed)


def hand_off(tensor: torch.Tensor) -> Any:
    """A copy that training cannot change any more: a NumPy array, or for CUDA a tensor on its way to pinned memory.

    Never waits for the device.
    """
    if tensor.requires_grad:
        # Asked first, because a call of torch costs more than the copy of a small batch.
        tensor = tensor.detach()
    if not tensor.is_cpu:
        # A non-blocking copy to the CPU goes to pinned memory; the clone is for the next kernel, which may write.
        # Only of CUDA is it known when such a copy is complete.
        return tensor.clone().to("cpu", non_blocking=tensor.is_cuda)
    if tensor.dtype is torch.bfloat16:
        return tensor.float().numpy()
    return tensor.numpy().copy()


def landed(value: Any) -> Any:
    """A handed-off array as NumPy, after its event has passed."""
    if isinstance(value, torch.Tensor):
        return (value.float() if value.dtype is torch.bfloat16 else value).numpy()
    return value


def copied_event(tensor: torch.Tensor) -> Any:
    """A CUDA event after which everything handed off so far has landed; None for a tensor of the CPU."""
    if not tensor.is_cuda:
        return None
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]
    event.record()
    return event


class Ring(Generic[HandedT]):
    """Records between the two threads: bounded in bytes; what does not fit is counted by its values, not kept."""

    def __init__(self, *, capacity_bytes: int = 64 * 1024 * 1024) -> None:
        self._records: deque[HandedT] = deque()
        self._capacity_bytes = capacity_bytes
        # Each is written by one thread only, so that no lock is needed.
        self._added_bytes = 0
        self._taken_bytes = 0
        self.dropped_values = 0

    def add(self, record: HandedT) -> None:
        """Called by the training thread."""
        size = _RECORD_BYTES
        # Written out, as in `_size`: a call more costs as much as all of this.
        for column in record.columns.values():
            size += column.nbytes
        if self._added_bytes - self._taken_bytes + size > self._capacity_bytes:
            self.dropped_values += len(record.batch.positions) if record.batch else 1
            return
        self._added_bytes += size
        self._records.append(record)

    @property
    def empty(self) -> bool:
        return not self._records

    def take(self) -> list[HandedT]:
        """Everything whose copies are complete, oldest first. Called by the publisher thread."""
        taken: list[HandedT] = []
        while self._records:
            record = self._records[0]
            if record.ready is not None and not record.ready.query():
                break
            self._records.popleft()
            self._taken_bytes += _size(record)
            taken.append(record)
        return taken


def _size(record: Handed) -> int:
    size = _RECORD_BYTES
    for column in record.columns.values():
        size += column.nbytes
    return size
