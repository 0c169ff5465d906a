"""Reading protobuf messages that somebody else has written.

The generated code believes the kind of a field that the bytes name: a number sent as text becomes a list where the
caller expects an int, and fails much later. So what comes in is checked against the contract once, here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import betterproto

from weightslab_common.errors import InvalidArgument, WeightsLabError

MessageT = TypeVar("MessageT", bound=betterproto.Message)


def parsed(message_type: type[MessageT], payload: bytes) -> MessageT:
    """The message in `payload`. Raises InvalidArgument when it is none, or a field is not of its kind."""
    return read_into(message_type(), payload)


def read_into(message: MessageT, payload: bytes) -> MessageT:
    """As `parsed`, into an empty message or whatever else has a `parse`."""
    try:
        message.parse(payload)
    except WeightsLabError:
        raise
    except Exception as error:
        # betterproto has no error of its own for bytes that are no message.
        raise InvalidArgument(f"this is no {type(message).__name__}: {error}") from error
    if isinstance(message, betterproto.Message):
        _check(message)
    return message


def _check(message: betterproto.Message) -> None:
    contract = message._betterproto  # type: ignore[arg-type]
    for name, value in message.__dict__.items():
        kind = contract.cls_by_field.get(name)
        if kind is None or value is betterproto.PLACEHOLDER:
            continue
        if value is None and contract.meta_by_field_name[name].optional:
            continue
        repeated = contract.default_gen[name] is list
        if repeated and not isinstance(value, list):
            raise _wrong(message, name)
        _check_values(message, name, kind, value if repeated else (value,))


def _check_values(message: betterproto.Message, name: str, kind: type, values: Iterable[Any]) -> None:
    expected = int if issubclass(kind, int) and kind is not bool else kind
    for value in values:
        if not isinstance(value, expected):
            raise _wrong(message, name)
        if isinstance(value, betterproto.Message):
            _check(value)


def _wrong(message: betterproto.Message, name: str) -> InvalidArgument:
    return InvalidArgument(f"the field {name} of this {type(message).__name__} is of another kind than the contract's")
