"""The random number streams of a process: captured and restored exactly."""

from __future__ import annotations

import contextlib
import random
import struct
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


# Python's 624 words and position, whether and what it has left of a pair of normal numbers; the same of NumPy.
_PYTHON_WORDS, _NUMPY_WORDS = 625, 624
_REST = struct.Struct("<dii?d")


def packed() -> bytes:
    """Python's, NumPy's and torch's CPU streams in about 10 KB: what a loader worker tells with each batch."""
    version, words, gauss = random.getstate()
    state: Any = np.random.get_state(legacy=True)
    _, keys, position, has_gauss, cached = state
    rest = _REST.pack(float("nan") if gauss is None else gauss, version, position, bool(has_gauss), cached)
    python = np.array(words, dtype="<u4").tobytes()
    numpy: bytes = keys.astype("<u4").tobytes()
    return rest + python + numpy + torch.get_rng_state().numpy().tobytes()


def unpack(state: bytes) -> None:
    """Set these streams to what `packed` gave."""
    gauss, version, position, has_gauss, cached = _REST.unpack_from(state)
    words = np.frombuffer(state, dtype="<u4", offset=_REST.size, count=_PYTHON_WORDS + _NUMPY_WORDS)
    random.setstate((version, tuple(words[:_PYTHON_WORDS].tolist()), None if gauss != gauss else gauss))
    np.random.set_state(("MT19937", words[_PYTHON_WORDS:].astype(np.uint32), position, int(has_gauss), cached))
    torch.set_rng_state(torch.frombuffer(bytearray(state[_REST.size + words.nbytes :]), dtype=torch.uint8))
