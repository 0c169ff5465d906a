"""A reply that is encoded once, however many callers get it."""

from __future__ import annotations

from dataclasses import dataclass

import betterproto
from weightslab_common.messages import encoded


@dataclass(frozen=True, slots=True)
class Encoded:
    """Stands for a message where only its bytes are asked for."""

    payload: bytes

    @classmethod
    def of(cls, message: betterproto.Message) -> Encoded:
        return cls(encoded(message))


def payload_of(message: betterproto.Message | Encoded) -> bytes:
    """The bytes that are sent for `message`."""
    return message.payload if isinstance(message, Encoded) else encoded(message)
