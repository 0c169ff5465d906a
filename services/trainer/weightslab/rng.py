"""The random number streams of a process: captured and restored exactly."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

# What `capture` returns: plain values and tensors, as the tree of a snapshot holds them.
RngState = dict[str, Any]


def capture(generators: Sequence[torch.Generator] = ()) -> RngState:
    """The state of Python's, NumPy's and torch's (CPU and CUDA) streams and of `generators`, in this order."""
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(legacy=True),
        "torch": torch.get_rng_state(),
        # Before CUDA is used by the training there is no stream to keep; asking for one would start CUDA.
        "cuda": torch.cuda.get_rng_state_all() if _cuda_is_used() else [],
        "generators": [generator.get_state() for generator in generators],
    }


def _cuda_is_used() -> bool:
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


def restore(state: RngState, generators: Sequence[torch.Generator] = ()) -> None:
    """Set all streams to `state`."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    np.random.set_state(tuple(state["numpy"]))
    torch.set_rng_state(state["torch"])
    for device, saved in enumerate(state["cuda"][: torch.cuda.device_count()]):
        torch.cuda.set_rng_state(saved, device)
    for generator, saved in zip(generators, state["generators"], strict=False):
        generator.set_state(saved)


@contextlib.contextmanager
def preserved(generators: Sequence[torch.Generator] = ()) -> Iterator[None]:
    """Leave every stream as it was, whatever happens inside."""
    before = capture(generators)
    try:
        yield
    finally:
        restore(before, generators)
