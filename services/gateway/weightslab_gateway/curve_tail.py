"""The newest points of one curve, by their ordinals."""

from __future__ import annotations

from dataclasses import dataclass

from weightslab_common.errors import InvalidArgument

POINT_BYTES = 8
"""Of an int64 step and of a float64 value."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Ordinals `first` to `end - 1` that were not seen."""

    first: int
    end: int

    @property
    def point_count(self) -> int:
        return self.end - self.first


def count_points(steps: bytes, values: bytes) -> int:
    """How many points two columns hold. Raises InvalidArgument when they do not fit each other."""
    if len(steps) != len(values) or len(steps) % POINT_BYTES:
        raise InvalidArgument(f"a curve has {len(steps)} bytes of steps and {len(values)} bytes of values")
    return len(steps) // POINT_BYTES


class CurveTail:
    """Points `first` to `end - 1` of a curve that has `end` points; at most twice `kept_points` of them."""

    def __init__(self, *, end: int, kept_points: int) -> None:
        self.first = end
        self.end = end
        self._kept_points = kept_points
        self._steps = bytearray()
        self._values = bytearray()

    def append(self, first: int, steps: bytes, values: bytes) -> Gap | None:
        """Add points from ordinal `first` on; known ones are ignored.

        Returns the gap before them when there is one, and adds nothing then. Raises InvalidArgument.
        """
        count = count_points(steps, values)
        if first + count <= self.end:
            return None
        if first > self.end:
            return Gap(self.end, first)
        known_bytes = (self.end - first) * POINT_BYTES
        self._steps += steps[known_bytes:]
        self._values += values[known_bytes:]
        self.end = first + count
        if self.end - self.first > 2 * self._kept_points:
            self._forget((self.end - self.first - self._kept_points) * POINT_BYTES)
        return None

    def prepend(self, first: int, steps: bytes, values: bytes) -> None:
        """Add points that end where the tail begins; others are ignored. Raises InvalidArgument."""
        if first + count_points(steps, values) == self.first:
            self._steps[:0] = steps
            self._values[:0] = values
            self.first = first

    def reset(self, end: int) -> None:
        """Forget all points; the curve has `end` of them."""
        self._steps.clear()
        self._values.clear()
        self.first = self.end = end

    def since(self, ordinal: int) -> tuple[bytes, bytes]:
        """Steps and values from `ordinal` on, which must not lie before `first`."""
        start = (ordinal - self.first) * POINT_BYTES
        return bytes(self._steps[start:]), bytes(self._values[start:])

    def _forget(self, size_bytes: int) -> None:
        del self._steps[:size_bytes]
        del self._values[:size_bytes]
        self.first += size_bytes // POINT_BYTES
