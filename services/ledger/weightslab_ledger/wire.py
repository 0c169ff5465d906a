"""Quick reading of messages that hold very many texts.

The generated code takes about 10 µs per text, which for a million samples stops the event loop for ten seconds. What is
read here is the protobuf wire format (https://protobuf.dev/programming-guides/encoding/); all the rest of a message is
left to the generated code.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from weightslab_common.columns import F64, unpack
from weightslab_common.errors import InvalidArgument
from weightslab_common.messages import parsed
from weightslab_proto.weightslab.bus.v1 import MetadataColumn, SplitRegistration
from weightslab_proto.weightslab.v1 import EditSamplesRequest, SummarizeSelectionRequest

_LENGTH_DELIMITED = 2
# Field numbers of the messages named.
_REGISTRATION_UIDS, _REGISTRATION_METADATA, _METADATA_TEXTS = 5, 6, 3
_TARGET_SAMPLES, _LIST_SAMPLES, _REF_SPLIT, _REF_UID = 1, 1, 1, 2

Metadata = dict[str, NDArray[np.float64] | list[str]]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The number that starts at `at`, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise InvalidArgument("a number in a message has no end")


def split_field(data: bytes, number: int) -> tuple[list[bytes], bytes]:
    """The contents of every length-delimited field `number` of a message, and the message without them.

    Raises InvalidArgument when the message is cut short.
    """
    found: list[bytes] = []
    rest: list[bytes] = []
    wanted = number << 3 | _LENGTH_DELIMITED
    at, end = 0, len(data)
    try:
        while at < end:
            start = at
            key = data[at]
            at += 1
            if key >= 0x80:
                key, at = _varint(data, start)
            kind = key & 7
            if kind == _LENGTH_DELIMITED:
                length = data[at]
                at += 1
                if length >= 0x80:
                    length, at = _varint(data, at - 1)
                content_at = at
                at += length
                if key == wanted:
                    found.append(data[content_at:at])
                    continue
            elif kind == 0:
                _, at = _varint(data, at)
            elif kind in (1, 5):
                at += 8 if kind == 1 else 4
            else:
                raise InvalidArgument(f"a message holds a field of unknown kind {kind}")
            rest.append(data[start:at])
    except IndexError:
        raise InvalidArgument("a message is cut short") from None
    if at > end:
        raise InvalidArgument("a message is cut short")
    return found, b"".join(rest)


def read_registration(content: bytes) -> tuple[SplitRegistration, Metadata]:
    """A registration with its uids, and its metadata columns. Raises InvalidArgument, ValueError."""
    uids, rest = split_field(content, _REGISTRATION_UIDS)
    columns, rest = split_field(rest, _REGISTRATION_METADATA)
    part = parsed(SplitRegistration, rest)
    part.uids = [uid.decode() for uid in uids]
    metadata: Metadata = {}
    for column in columns:
        texts, rest = split_field(column, _METADATA_TEXTS)
        numbers = parsed(MetadataColumn, rest)
        count, name = len(uids), f"metadata {numbers.name!r}"
        if texts:
            if len(texts) != count:
                raise InvalidArgument(f"{name}: {len(texts)} texts for {count} samples")
            metadata[numbers.name] = [text.decode() for text in texts]
        else:
            metadata[numbers.name] = unpack(numbers.numbers, F64, count=count, name=name)
    return part, metadata


@dataclass(slots=True)
class Targeted:
    """A request whose target is a list of samples, or whose `message` says otherwise.

    `samples`: (split, uid) of each sample, None when the target is no list.
    """

    message: EditSamplesRequest | SummarizeSelectionRequest
    target_field: int
    samples: list[tuple[str, str]] | None = None

    def parse(self, content: bytes) -> Targeted:
        """Read a request. Raises InvalidArgument."""
        try:
            self._parse(content)
        except UnicodeDecodeError:
            raise InvalidArgument("a text of the request is no UTF-8") from None
        return self

    def _parse(self, content: bytes) -> None:
        targets, rest = split_field(content, self.target_field)
        lists: list[bytes] = []
        if targets:
            lists, _ = split_field(targets[-1], _TARGET_SAMPLES)
        if lists:
            self.message = parsed(type(self.message), rest)
            references, _ = split_field(lists[-1], _LIST_SAMPLES)
            self.samples = [_reference(reference) for reference in references]
        else:
            self.message = parsed(type(self.message), content)


def _reference(content: bytes) -> tuple[str, str]:
    splits, rest = split_field(content, _REF_SPLIT)
    uids, _ = split_field(rest, _REF_UID)
    return splits[-1].decode() if splits else "", uids[-1].decode() if uids else ""


def edit_request() -> Targeted:
    """An empty `EditSamplesRequest`, to be parsed."""
    return Targeted(EditSamplesRequest(), target_field=5)


def selection_request() -> Targeted:
    """An empty `SummarizeSelectionRequest`, to be parsed."""
    return Targeted(SummarizeSelectionRequest(), target_field=2)
