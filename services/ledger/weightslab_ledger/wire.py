"""Reading of what names very many samples: registrations, and requests whose target is a list.

A request may name 100,000 samples, while everybody else waits for the event loop: to make a message of each name and
ask it for its fields takes three times as long as to read the wire format of the list here
(https://protobuf.dev/programming-guides/encoding/).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from weightslab_common.columns import F64, unpack
from weightslab_common.errors import InvalidArgument
from weightslab_common.messages import FIXED_32, FIXED_64, LENGTH_DELIMITED, VARINT, parsed, read_varint
from weightslab_proto.weightslab.bus.v1 import SplitRegistration
from weightslab_proto.weightslab.v1 import EditSamplesRequest, SummarizeSelectionRequest

# Field numbers of `Target`, `SampleList` and `SampleRef`.
_TARGET_SAMPLES, _LIST_SAMPLES, _REF_SPLIT, _REF_UID = 1, 1, 1, 2

Metadata = dict[str, NDArray[np.float64] | list[str]]
RequestT = TypeVar("RequestT", EditSamplesRequest, SummarizeSelectionRequest)


def split_field(data: bytes, number: int) -> tuple[list[bytes], bytes]:
    """The contents of every length-delimited field `number` of a message, and the message without them.

    Raises InvalidArgument when the message is cut short.
    """
    found: list[bytes] = []
    rest: list[bytes] = []
    wanted = number << 3 | LENGTH_DELIMITED
    at, end = 0, len(data)
    try:
        while at < end:
            start = at
            key = data[at]
            at += 1
            if key >= 0x80:
                key, at = read_varint(data, start)
            kind = key & 7
            if kind == LENGTH_DELIMITED:
                length = data[at]
                at += 1
                if length >= 0x80:
                    length, at = read_varint(data, at - 1)
                content_at = at
                at += length
                if key == wanted:
                    found.append(data[content_at:at])
                    continue
            elif kind == VARINT:
                _, at = read_varint(data, at)
            elif kind in (FIXED_64, FIXED_32):
                at += 8 if kind == FIXED_64 else 4
            else:
                raise InvalidArgument(f"a message holds a field of unknown kind {kind}")
            rest.append(data[start:at])
    except IndexError:
        raise InvalidArgument("a message is cut short") from None
    except ValueError:
        raise InvalidArgument("a number in a message has no end") from None
    if at > end:
        raise InvalidArgument("a message is cut short")
    return found, b"".join(rest)


def read_registration(content: bytes) -> tuple[SplitRegistration, Metadata]:
    """A registration, and its metadata columns as the catalog takes them. Raises InvalidArgument, ValueError."""
    part = parsed(SplitRegistration, content)
    count, metadata = len(part.uids), Metadata()
    for column in part.metadata:
        name, texts = f"metadata {column.name!r}", column.texts
        if texts and len(texts) != count:
            raise InvalidArgument(f"{name}: {len(texts)} texts for {count} samples")
        metadata[column.name] = texts or unpack(column.numbers, F64, count=count, name=name)
    return part, metadata


@dataclass(frozen=True, slots=True)
class Targeted(Generic[RequestT]):
    """A request whose target is a list of samples, or whose `message` says otherwise.

    `samples`: (split, uid) of each sample, None when the target is no list.
    """

    message: RequestT
    samples: list[tuple[str, str]] | None


def edit_request(content: bytes) -> Targeted[EditSamplesRequest]:
    """Raises InvalidArgument."""
    return _targeted(EditSamplesRequest, content, target_field=5)


def selection_request(content: bytes) -> Targeted[SummarizeSelectionRequest]:
    """Raises InvalidArgument."""
    return _targeted(SummarizeSelectionRequest, content, target_field=2)


def _targeted(request_type: type[RequestT], content: bytes, *, target_field: int) -> Targeted[RequestT]:
    targets, rest = split_field(content, target_field)
    lists = split_field(targets[-1], _TARGET_SAMPLES)[0] if targets else []
    if not lists:
        return Targeted(parsed(request_type, content), None)
    references, _ = split_field(lists[-1], _LIST_SAMPLES)
    try:
        return Targeted(parsed(request_type, rest), [_reference(reference) for reference in references])
    except UnicodeDecodeError:
        raise InvalidArgument("a text of the request is no UTF-8") from None


def _reference(content: bytes) -> tuple[str, str]:
    splits, rest = split_field(content, _REF_SPLIT)
    uids, _ = split_field(rest, _REF_UID)
    return splits[-1].decode() if splits else "", uids[-1].decode() if uids else ""
