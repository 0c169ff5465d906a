"""A reply that is encoded once, however many callers get it."""

from __future__ import annotations

from dataclasses import dataclass

import betterproto


@dataclass(frozen=True, slots=True)
class Encoded:
    """Stands for a message where only its bytes are asked for."""

    payload: bytes

    @classmethod
    def of(cls, message: betterproto.Message) -> Encoded:
        return cls(bytes(message))

    def __bytes__(self) -> bytes:
        return self.payload
