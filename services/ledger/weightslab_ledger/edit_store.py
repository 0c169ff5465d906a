"""The edit log in the store: one stream entry per edit, beside the bitmaps it adds up to."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, replace

import numpy as np
import orjson
from weightslab_common.columns import U32, pack_bits
from weightslab_common.errors import Aborted
from weightslab_proto.weightslab.v1 import EditOperation

from weightslab_ledger.blobs import pack_row_set, unpack_row_set
from weightslab_ledger.edits import DISCARDS, Change, EditState, Entry, Summary
from weightslab_ledger.store import Keys, Store, script_text

# Entries fetched at once while loading.
_LOAD_ENTRIES = 256
# What one SETBIT costs in the append-only file; above it the whole bitmap is shorter and quicker.
_SETBIT_BYTES = 64


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the store said to an edit: `OK`, `KNOWN` or `MOVED`, and a revision."""

    word: str
    revision: int


def encode_entry(entry: Entry) -> tuple[bytes, bytes]:
    """The summary as JSON and the changed rows as one blob."""
    sets = [pack_row_set(change.rows) for change in entry.changes]
    record = {
        **asdict(entry.summary),
        "operation": int(entry.summary.operation),
        "changes": [[change.bitmap, change.value] for change in entry.changes],
        "created_tags": entry.created_tags,
        "deleted_tags": entry.deleted_tags,
    }
    return orjson.dumps(record), b"".join(struct.pack("<I", len(blob)) + blob for blob in sets)


def decode_entry(summary: bytes, rows: bytes) -> Entry:
    """The inverse of `encode_entry`."""
    record = orjson.loads(summary)
    changes, start = [], 0
    for bitmap, value in record.pop("changes"):
        (length,) = struct.unpack_from("<I", rows, start)
        changes.append(Change(bitmap, value, unpack_row_set(rows[start + 4 : start + 4 + length])))
        start += 4 + length
    created, deleted = tuple(record.pop("created_tags")), tuple(record.pop("deleted_tags"))
    record["operation"] = EditOperation(record["operation"])
    return Entry(Summary(**record), tuple(changes), created, deleted)


class EditStore:
    """Appends edits to the store and reads them back."""

    def __init__(self, store: Store, experiment: str) -> None:
        self._store = store
        self._keys = Keys(experiment)
        self._append = store.client.register_script(script_text("edits.lua"))

    def bitmap_key(self, bitmap: str) -> str:
        return self._keys("discards") if bitmap == DISCARDS else self._keys("tag:" + bitmap)

    async def append(self, entry: Entry, state: EditState, *, token: int, row_count: int) -> Verdict:
        """Write an entry that was planned on `state`; it is on disk when this returns OK.

        Raises Unavailable, and Aborted when another ledger owns the experiment.
        """
        keys, data = await asyncio.to_thread(self._bitmaps, entry, state, row_count)
        summary, rows = await asyncio.to_thread(encode_entry, entry)
        arguments: list[bytes | str | int] = [token, entry.summary.edit_id, state.revision, summary, rows]
        arguments += [len(entry.created_tags), *entry.created_tags, len(entry.deleted_tags), *entry.deleted_tags, *data]
        names = [self._keys.fence, *map(self._keys, ("revision", "ids", "edits", "tags")), *keys]
        with self._store.reaching():
            word, revision = await self._append(keys=names, args=arguments)
        if word == b"FENCED":
            raise Aborted("another ledger owns the experiment now; send the edit again")
        return Verdict(word.decode(), int(revision))

    def _bitmaps(self, entry: Entry, state: EditState, row_count: int) -> tuple[list[str], list[bytes | str]]:
        keys: list[str] = []
        data: list[bytes | str] = []
        for change in entry.changes:
            if change.bitmap in entry.deleted_tags:
                continue
            keys.append(self.bitmap_key(change.bitmap))
            if len(change.rows) * _SETBIT_BYTES < row_count // 8:
                data += ["set" if change.value else "clear", change.rows.astype(U32).tobytes()]
            else:
                mask = state.mask(change.bitmap, max(row_count, int(change.rows[-1]) + 1)).copy()
                mask[change.rows] = change.value
                # A bitmap without a bit is none: clearing hundreds of tags sends nothing for them.
                data += ["whole", pack_bits(mask)] if mask.any() else ["delete", b""]
        for tag in entry.deleted_tags:
            keys.append(self.bitmap_key(tag))
            data += ["delete", b""]
        return keys, data

    async def load(self, after_revision: int) -> AsyncIterator[Entry]:
        """All entries after a revision, in order, with the steps from which they hold. Raises Unavailable."""
        with self._store.reaching() as client:
            effective = await client.hgetall(self._keys("effective"))
        while True:
            entries = await self._range(after_revision + 1, _LOAD_ENTRIES)
            for entry in entries:
                after_revision = entry.summary.revision
                if said := effective.get(str(after_revision).encode()):
                    step, branch = orjson.loads(said)
                    known = replace(entry.summary, effective_step=step, effective_branch=branch)
                    entry = replace(entry, summary=known)
                yield entry
            if len(entries) < _LOAD_ENTRIES:
                return

    async def entry(self, revision: int) -> Entry:
        """One entry of the log, which must exist. Raises Unavailable."""
        return (await self._range(revision, 1))[0]

    async def _range(self, first_revision: int, count: int) -> list[Entry]:
        with self._store.reaching() as client:
            found = await client.xrange(self._keys("edits"), min=f"{first_revision}-0", max="+", count=count)
        return [decode_entry(fields[b"summary"], fields[b"rows"]) for _, fields in found]

    async def set_effective(self, revision: int, *, step: int, branch: str) -> None:
        """Keep from which step an edit holds; the first word counts. Raises Unavailable."""
        with self._store.reaching() as client:
            await client.hsetnx(self._keys("effective"), str(revision), orjson.dumps([step, branch]).decode())

    async def bitmaps(self) -> dict[str, np.ndarray]:
        """The bitmaps as the store has them, bools by row. Raises Unavailable."""
        with self._store.reaching() as client:
            tags = [tag.decode() for tag in await client.hkeys(self._keys("tags"))]
            values = await client.mget([self.bitmap_key(name) for name in (DISCARDS, *tags)])
        return {
            name: np.unpackbits(np.frombuffer(value or b"", dtype=np.uint8)).astype(bool)
            for name, value in zip((DISCARDS, *tags), values, strict=True)
        }


def differences(state: EditState, bitmaps: dict[str, np.ndarray]) -> list[str]:
    """One sentence per bitmap of the store that is not what the log adds up to."""
    sentences = []
    for name in sorted({DISCARDS, *state.tags, *bitmaps}):
        what = f"tag {name!r}" if name else "discards"
        if name and (name not in bitmaps or name not in state.tags):
            sentences.append(f"{what} is only in the {'log' if name in state.tags else 'store'}")
            continue
        stored = bitmaps.get(name, np.zeros(0, dtype=bool))
        length = max(len(stored), len(state.discarded if not name else state.tags[name]))
        logged = state.mask(name, length)
        kept = np.zeros(length, dtype=bool)
        kept[: len(stored)] = stored
        if wrong := int((logged != kept).sum()):
            sentences.append(f"{what}: {wrong} samples differ between the log and the bitmap")
    return sentences
