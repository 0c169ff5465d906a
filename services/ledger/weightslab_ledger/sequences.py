"""Which messages of which run were taken in already: one bit per (run id, sequence)."""

from __future__ import annotations

from weightslab_common.errors import InvalidArgument

# A sequence this far beyond the newest of its run is no sequence.
_MAX_JUMP = 1 << 24


class SeenSequences:
    """A growing bitmap per run; a week at ten messages a second takes under a megabyte."""

    def __init__(self, bits: dict[str, bytes] | None = None) -> None:
        self._bits = {run_id: bytearray(bits) for run_id, bits in (bits or {}).items()}

    def add(self, run_id: str, sequence: int) -> bool:
        """Note a message; false when it was there. Raises InvalidArgument for an impossible sequence."""
        if (run_id, sequence) in self:
            return False
        bits = self._bits.setdefault(run_id, bytearray())
        byte, bit = sequence >> 3, 1 << (sequence & 7)
        if byte >= len(bits):
            bits.extend(bytes(max(byte + 1, len(bits) * 2, 64) - len(bits)))
        bits[byte] |= bit
        return True

    def __contains__(self, message: tuple[str, int]) -> bool:
        """Raises InvalidArgument for an impossible sequence: it must never come to be written anywhere."""
        run_id, sequence = message
        bits = self._bits.get(run_id, b"")
        if sequence - len(bits) * 8 > _MAX_JUMP:
            raise InvalidArgument(f"sequence {sequence} of run {run_id} is far beyond {len(bits) * 8}")
        return sequence >> 3 < len(bits) and bool(bits[sequence >> 3] & (1 << (sequence & 7)))

    def dump(self) -> dict[str, bytes]:
        """For `__init__`, after a restart."""
        return {run_id: bytes(bits) for run_id, bits in self._bits.items()}
