"""The catalog in the store: a list of parts, each one compact blob, appended under the fencing token."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator

import numpy as np
import orjson
from numpy.typing import NDArray
from weightslab_common.errors import Aborted

from weightslab_ledger.blobs import (
    pack_numbers,
    pack_row_list,
    pack_texts,
    unpack_numbers,
    unpack_row_list,
    unpack_texts,
)
from weightslab_ledger.catalog import Part
from weightslab_ledger.store import Keys, Store, script_text

# Parts fetched at once while loading: bounds the memory that a load takes beside the catalog itself.
_LOAD_PARTS = 8


def encode_part(part: Part) -> bytes:
    """A part as bytes: a JSON header with the lengths of the blobs that follow it."""
    columns = sorted(part.metadata)
    blobs = [pack_texts(part.new_uids), pack_row_list(part.rows)]
    for name in columns:
        values = part.metadata[name]
        blobs.append(pack_texts(values) if isinstance(values, list) else pack_numbers(values))
    header = orjson.dumps(
        {
            "registration_id": part.registration_id,
            "split": part.split,
            "sample_count": part.sample_count,
            "first_position": part.first_position,
            "class_names": part.class_names,
            "media_kind": part.media_kind,
            "slice_count": part.slice_count,
            "complete": part.complete,
            "layers": part.layers,
            "run_id": part.run_id,
            "sequence": part.sequence,
            "first_new_row": part.first_new_row,
            "columns": [[name, isinstance(part.metadata[name], list)] for name in columns],
            "lengths": [len(blob) for blob in blobs],
        }
    )
    return struct.pack("<I", len(header)) + header + b"".join(blobs)


def decode_part(record: bytes) -> Part:
    """The inverse of `encode_part`."""
    (header_bytes,) = struct.unpack_from("<I", record)
    header = orjson.loads(record[4 : 4 + header_bytes])
    blobs, start = [], 4 + header_bytes
    for length in header.pop("lengths"):
        blobs.append(record[start : start + length])
        start += length
    metadata: dict[str, NDArray[np.float64] | list[str]] = {
        name: unpack_texts(blob) if is_text else unpack_numbers(blob)
        for (name, is_text), blob in zip(header.pop("columns"), blobs[2:], strict=True)
    }
    return Part(**header, new_uids=unpack_texts(blobs[0]), rows=unpack_row_list(blobs[1]), metadata=metadata)


class CatalogStore:
    """Appends parts to the store and reads them back."""

    def __init__(self, store: Store, experiment: str) -> None:
        self._store = store
        self._keys = Keys(experiment)
        self._append = store.client.register_script(script_text("catalog.lua"))

    async def append(self, part: Part, *, token: int, part_count: int) -> None:
        """Keep a part; `part_count` are already there. Raises Unavailable, Aborted when no longer the owner."""
        record = await asyncio.to_thread(encode_part, part)
        with self._store.reaching():
            reply = await self._append(keys=[self._keys.fence, self._keys("catalog")], args=[token, part_count, record])
        if reply != b"OK":
            raise Aborted(f"the catalog was not written: {reply.decode()}")

    async def load(self) -> AsyncIterator[Part]:
        """All parts, in order. Raises Unavailable."""
        start = 0
        while True:
            with self._store.reaching() as client:
                records = await client.lrange(self._keys("catalog"), start, start + _LOAD_PARTS - 1)
            for record in records:
                yield await asyncio.to_thread(decode_part, record)
            if len(records) < _LOAD_PARTS:
                return
            start += len(records)
