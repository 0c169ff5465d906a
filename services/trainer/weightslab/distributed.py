"""Several ranks of torch.distributed as one run: rank 0 speaks with people, all ranks do the same at the same batch.

Before each training batch is yielded the ranks exchange two bits: whether each has a batch, and whether rank 0 has
something to say. Only then a second message carries what rank 0 did: edits, mode, hyperparameters, checkpoints.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch.utils.data.distributed import DistributedSampler
from weightslab_common.columns import pack_bits, unpack_bits

if TYPE_CHECKING:
    from weightslab.run import Run

Command = dict[str, Any]

# A pause may last: the ranks wait for rank 0 as long as it does.
_TIMEOUT = timedelta(days=3650)
_STARVED_PAUSE_SECS = 0.05


class Peers:
    """The ranks of one run. All methods but `tell` and `hold_back` are called by the training thread of each rank."""

    def __init__(self, run: Run) -> None:
        self.rank = dist.get_rank()
        self.count = dist.get_world_size()
        self._run = run
        # What another rank does with a command of rank 0; set by its service.
        self.obey: Callable[[Command], None] = lambda command: None
        # Our own group: what the user's loop exchanges is never mixed with it.
        self._group = dist.new_group(backend="gloo", timeout=_TIMEOUT)
        self._told: list[Command] = []
        self._branch_told = ""
        self._held_back: dict[str, NDArray[np.bool_]] = {}

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def tell(self, command: Command) -> None:
        """Rank 0 has done something that the others are to do before the next batch."""
        if self.leads:
            self._told.append(command)

    def hold_back(self, split: str, mask: NDArray[np.bool_]) -> None:
        """Rank 0 has heard of an edit: it holds from the next agreement on. Called with `edit_lock` held."""
        self._held_back[split] = mask

    def discards_of(self, split: str) -> NDArray[np.bool_]:
        """What rank 0 knows of the discards, in force or held back."""
        return self._held_back.get(split, self._run.splits[split].discarded)

    def all_have(self, has: bool) -> bool:
        """Whether every rank has something."""
        return self._most(not has) == 0

    def agree(self, *, has_batch: bool) -> bool:
        """Do what rank 0 did since the last batch; returns whether every rank has a batch.

        On rank 0 this is the gate, where pauses hold.
        """
        attention = False
        if self.leads:
            self._run.before_batch()
            with self._run.edit_lock:
                # What is heard from now on holds from the batch after this one.
                self._run.yielded_step = self._run.step
                attention = bool(
                    self._told
                    or self._held_back
                    or self._run.gate.wants_attention
                    or self._run.branch != self._branch_told
                )
        bits = self._most((not has_batch) + 2 * attention, bitwise=True)
        if bits & 2:
            self._exchange()
        return not bits & 1

    def wait_for_edit(self) -> None:
        """All samples are discarded: agree again and again until that changes."""
        versions = [split.version for split in self._run.splits.values()]
        while versions == [split.version for split in self._run.splits.values()]:
            self.agree(has_batch=False)
            time.sleep(_STARVED_PAUSE_SECS)

    def share(self, value: Any) -> Any:
        """What rank 0 gives, on every rank. It must be JSON."""
        return json.loads(self._broadcast(json.dumps(value).encode() if self.leads else None))

    def _exchange(self) -> None:
        if self.leads:
            self._run.gate.arrive()
            with self._run.edit_lock:
                masks, self._held_back = self._held_back, {}
                self._apply(masks)
            edits = {name: [len(mask), pack_bits(mask).hex()] for name, mask in masks.items()}
            told, self._told = self._told, []
            self._branch_told = self._run.branch
            self.share({"edits": edits, "told": told, "branch": self._branch_told})
            return
        message = self.share(None)
        for command in message["told"]:
            self.obey(command)
        self._run.branch = message["branch"]
        self._apply(
            {name: unpack_bits(bytes.fromhex(bits), count=count) for name, (count, bits) in message["edits"].items()}
        )

    def _apply(self, masks: dict[str, NDArray[np.bool_]]) -> None:
        for name, mask in masks.items():
            if name in self._run.splits:
                self._run.splits[name].replace(mask)

    def _most(self, value: int, *, bitwise: bool = False) -> int:
        tensor = torch.tensor([value & 1, value >> 1] if bitwise else [value], dtype=torch.int64)
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX, group=self._group)
        most: list[int] = tensor.tolist()
        return most[0] + 2 * most[1] if bitwise else most[0]

    def _broadcast(self, content: bytes | None) -> bytes:
        size = torch.tensor([len(content or b"")], dtype=torch.int64)
        dist.broadcast(size, src=0, group=self._group)
        data = torch.frombuffer(bytearray(content or bytes(int(size))), dtype=torch.uint8)
        dist.broadcast(data, src=0, group=self._group)
        return data.numpy().tobytes()


def is_distributed() -> bool:
    """Whether this process is one of several ranks."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def dealt(sampler: DistributedSampler[Any], *, active: Callable[[Sequence[int]], list[int]]) -> Iterator[int]:
    """What is drawn on this rank: the order of the whole dataset, without discarded samples, dealt out in rounds.

    So every rank draws equally many however the discards are spread. What does not fill the last round is drawn more
    than once, as `DistributedSampler` does, or with its `drop_last` not at all.
    """
    whole = copy.copy(sampler)
    whole.num_replicas, whole.rank = 1, 0
    whole.num_samples = whole.total_size = len(sampler.dataset)  # type: ignore[arg-type]
    hand: list[int] = []
    for index in whole:
        hand += active([index])
        if len(hand) == sampler.num_replicas:
            yield hand[sampler.rank]
            hand = []
    if hand and not sampler.drop_last:
        yield hand[sampler.rank % len(hand)]
