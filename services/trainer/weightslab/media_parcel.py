"""A split on its way to the media worker. What is large travels out of the memory that the training uses, uncopied."""

from __future__ import annotations

import copyreg
import io
from asyncio import StreamWriter
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.reduction import ForkingPickler
from typing import Any

import torch

from weightslab.media_process import FRAME, LENGTH
from weightslab.media_source import MediaSplit

# A dataset that is larger in memory than this is not copied.
_MAX_BYTES = 1024 * 1024 * 1024
# Below this a copy costs less than a piece of its own.
_OWN_PIECE_BYTES = 64 * 1024
_WRITE_BYTES = 256 * 1024
# The first that leaves large arrays where they are.
_PROTOCOL = 5


class Unpicklable(Exception):
    """The dataset cannot travel to another process; the message says why."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """A pickled split; `pieces` are views of the memory of its arrays."""

    pickled: memoryview
    pieces: tuple[memoryview, ...]

    def mentions(self, name: bytes) -> bool:
        return name in self.pickled.obj  # type: ignore[operator]


def packed(split: MediaSplit) -> Parcel:
    """Pickle a split, by value. Raises Unpicklable."""
    content, pieces = io.BytesIO(), list[memoryview]()

    def stays_inside(buffer: Any) -> bool:
        view: memoryview = buffer.raw()
        if view.nbytes < _OWN_PIECE_BYTES:
            return True
        pieces.append(view)
        return False

    try:
        _Pickler(content, _PROTOCOL, True, stays_inside).dump(split)
    except Exception as error:
        # The user's objects: pickling may raise anything.
        raise Unpicklable(f"the dataset of split {split.name!r} cannot be pickled ({error})") from error
    parcel = Parcel(memoryview(content.getvalue()), tuple(pieces))
    size = parcel.pickled.nbytes + sum(piece.nbytes for piece in pieces)
    if size > _MAX_BYTES:
        raise Unpicklable(f"the dataset of split {split.name!r} is {size >> 20} MiB in memory")
    return parcel


async def send(parcel: Parcel, *, script: str, to: StreamWriter) -> None:
    """Write what the worker reads: lengths, the path of the main script, the split. Never much is buffered."""
    path = script.encode()
    lengths = b"".join(LENGTH.pack(piece.nbytes) for piece in parcel.pieces)
    head = FRAME.pack(len(path), parcel.pickled.nbytes, len(parcel.pieces)) + lengths + path
    for part in (memoryview(head), parcel.pickled, *parcel.pieces):
        for chunk in _chunks(part):
            to.write(chunk)
            await to.drain()


def _chunks(part: memoryview) -> Iterator[memoryview]:
    for start in range(0, part.nbytes, _WRITE_BYTES):
        yield part[start : start + _WRITE_BYTES]


def _reduced(tensor: torch.Tensor) -> Any:
    """A tensor as an array, which pickles without a copy; torch would pickle all of its storage, also for one row."""
    try:
        return torch.from_numpy, (tensor.detach().numpy(),)
    except (TypeError, RuntimeError):
        # On a device, or of a type that NumPy does not have.
        return tensor.__reduce_ex__(_PROTOCOL)  # type: ignore[no-untyped-call]


class _Pickler(ForkingPickler):
    """Pickles tensors by value. torch teaches the one of `multiprocessing` to move them into shared memory instead,
    which would change the storage that the training uses.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.dispatch_table: Any = {**copyreg.dispatch_table, torch.Tensor: _reduced}
