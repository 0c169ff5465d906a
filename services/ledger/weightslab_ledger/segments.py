"""Append-only files of records that notice every torn or flipped byte.

A record is `magic u32 | header length u32 | body length u32 | crc32 u32 | header | body`, little-endian; the checksum
is over the lengths, header and body. The header is JSON. A last record that was never finished is left out; a damaged
one is skipped, counted and reported, and reading goes on at the next one that holds.

Files are named by the fencing token of the ledger that wrote them: a ledger that was stopped and does not know that
another took over writes only into files of its own. Each file begins with the lengths at which its writer found the
files before it, and what was added to them later is left out on reading.
"""

from __future__ import annotations

import logging
import mmap
import os
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

log = logging.getLogger(__name__)

_HEAD = struct.Struct("<IIII")
_MAGIC = 0x31474C57
_MAGIC_BYTES = struct.pack("<I", _MAGIC)
SEGMENT_BYTES = 64 * 1024**2


@dataclass(frozen=True, slots=True)
class Record:
    """`header`: any JSON object; `body`: what was read, not copied; both at `offset` of the file at `path`."""

    header: dict[str, Any]
    body: memoryview
    path: Path
    offset: int
    size_bytes: int


@dataclass(slots=True)
class Damage:
    """What reading found broken."""

    records: int = 0
    bytes: int = 0


def encode(header: dict[str, Any], body: bytes) -> bytes:
    """One record as bytes."""
    return encode_head(header, memoryview(body)) + body


def encode_head(header: dict[str, Any], body: memoryview, *, offset: int = 0, align: int = 1) -> bytes:
    """What stands before `body` (of bytes) in a record.

    A record that is written at `offset` gets blanks after its header, so that its body begins at a multiple of `align`.
    """
    head = orjson.dumps(header)
    head += b" " * (-(offset + _HEAD.size + len(head)) % align)
    lengths = struct.pack("<II", len(head), len(body))
    crc = zlib.crc32(body, zlib.crc32(head, zlib.crc32(lengths)))
    return _HEAD.pack(_MAGIC, len(head), len(body), crc) + head


def _decode_at(data: memoryview, offset: int, path: Path) -> Record | None:
    """The record that starts at `offset`, or None when there is none that holds."""
    if offset + _HEAD.size > len(data):
        return None
    magic, head_bytes, body_bytes, crc = _HEAD.unpack_from(data, offset)
    start = offset + _HEAD.size
    end = start + head_bytes + body_bytes
    if magic != _MAGIC or end > len(data):
        return None
    if zlib.crc32(data[start:end], zlib.crc32(struct.pack("<II", head_bytes, body_bytes))) != crc:
        return None
    head = bytes(data[start : start + head_bytes])
    return Record(orjson.loads(head), data[start + head_bytes : end], path, offset, end - offset)


def read_file(path: Path, damage: Damage) -> Iterator[Record]:
    """The records of a file that hold, in order; what is skipped is counted in `damage`."""
    return decode(path.read_bytes(), path, damage)


def decode(content: bytes | mmap.mmap, path: Path, damage: Damage) -> Iterator[Record]:
    """The records in `content`, which was read or mapped from `path`."""
    data = memoryview(content)
    offset = 0
    while offset < len(data):
        record = _decode_at(data, offset, path)
        if record is None:
            found = _next_record(content, data, offset + 1, path)
            if found < 0:
                break
            damage.records += 1
            damage.bytes += found - offset
            log.error("%s is damaged: %d bytes at %d are skipped", path, found - offset, offset)
            offset = found
            continue
        yield record
        offset += record.size_bytes
    if offset < len(data):
        if _is_whole(data, offset):
            damage.records += 1
            damage.bytes += len(data) - offset
            log.error("%s is damaged: the last %d bytes at %d are skipped", path, len(data) - offset, offset)
        else:
            log.warning("%s ends in a record that was never finished: %d bytes are left out", path, len(data) - offset)


def _next_record(content: bytes | mmap.mmap, data: memoryview, start: int, path: Path) -> int:
    while (start := content.find(_MAGIC_BYTES, start)) >= 0:
        if _decode_at(data, start, path) is not None:
            return start
        start += 1
    return -1


def _is_whole(data: memoryview, offset: int) -> bool:
    """Whether a record was written to its end, so that what is wrong with it is no torn write."""
    if offset + _HEAD.size > len(data):
        return False
    _, head_bytes, body_bytes, _ = _HEAD.unpack_from(data, offset)
    return offset + _HEAD.size + int(head_bytes) + int(body_bytes) <= len(data)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Segments:
    """The files `<name>-<token>-<number>.log` of a folder, in the order in which they were written.

    `load` reads what is there; then `append` and `sync` write under `token`.
    """

    def __init__(self, folder: Path, name: str, *, token: int, max_bytes: int = SEGMENT_BYTES) -> None:
        self._folder = folder
        self._name = name
        self._token = token
        self._max_bytes = max_bytes
        self._pattern = re.compile(re.escape(name) + r"-(\d{12})-(\d{8})\.log")
        self._file: Any = None
        self._size_bytes = 0
        self._number = 0
        # A write failed half way: the file is not written any further.
        self._torn = False
        self._lengths: dict[str, int] = {}
        self.damage = Damage()
        folder.mkdir(parents=True, exist_ok=True)

    def paths(self) -> list[Path]:
        return sorted(path for path in self._folder.iterdir() if self._pattern.fullmatch(path.name))

    def load(self) -> Iterator[Record]:
        """All records that hold, in order."""
        limits = self._limits()
        for path in self.paths():
            for record in read_file(path, self.damage):
                if record.offset >= limits.get(path.name, record.offset + 1):
                    break
                if "lengths" not in record.header:
                    yield record

    @property
    def truncated(self) -> bool:
        """Whether files that were there once have been dropped."""
        paths = self.paths()
        first = read_record(paths[0], 0) if paths else None
        match = self._pattern.fullmatch(paths[0].name) if paths else None
        return bool(match and int(match[2]) > 0) or bool(first and first.header.get("lengths"))

    def _limits(self) -> dict[str, int]:
        """By file name, how far a later owner found it written: what came after that was written unasked."""
        limits: dict[str, int] = {}
        for path in self.paths():
            first = read_record(path, 0)
            for name, length in (first.header.get("lengths", {}) if first else {}).items():
                limits[name] = min(length, limits.get(name, length))
        return limits

    def open(self) -> None:
        """Begin to write, after `load` has read what is there."""
        self._lengths = {path.name: path.stat().st_size for path in self.paths()}
        # The same owner may have written before, and left memory since.
        own = [
            match for name in self._lengths if (match := self._pattern.fullmatch(name)) and int(match[1]) == self._token
        ]
        self._number = max((int(match[2]) + 1 for match in own), default=0)
        self._roll()

    def _roll(self) -> None:
        if self._file is not None:
            if not self._torn:
                self.sync()
            self._file.close()
        self._torn = False
        path = self._folder / f"{self._name}-{self._token:012d}-{self._number:08d}.log"
        self._number += 1
        self._file = path.open("xb", buffering=0)
        self._path = path
        self._size_bytes = 0
        self._write(encode({"lengths": self._lengths}, b""))
        self.sync()
        sync_folder(self._folder)

    def _write(self, data: bytes) -> int:
        offset = self._size_bytes
        view = memoryview(data)
        while view:
            written = self._file.write(view)
            view = view[written:]
        self._size_bytes += len(data)
        return offset

    def append(self, header: dict[str, Any], body: bytes) -> tuple[Path, int]:
        """Write a record; durable after the next `sync`. Raises OSError, and what was begun then is left behind."""
        if self._size_bytes > self._max_bytes or self._torn:
            self._roll()
        self._torn = True
        offset = self._write(encode(header, body))
        self._torn = False
        return self._path, offset

    def sync(self) -> None:
        """Make everything that was appended durable."""
        os.fdatasync(self._file.fileno())

    def drop_oldest(self, keep_bytes: int) -> list[Path]:
        """Delete the oldest files until at most `keep_bytes` stay, never the one being written; return which."""
        paths = self.paths()
        total = sum(path.stat().st_size for path in paths)
        dropped = []
        for path in paths:
            if total <= keep_bytes or path == self._path:
                break
            total -= path.stat().st_size
            path.unlink()
            dropped.append(path)
        return dropped

    def close(self) -> None:
        if self._file is not None:
            self.sync()
            self._file.close()
            self._file = None


def read_record(path: Path, offset: int) -> Record | None:
    """One record by its place; None when the file is gone or the record does not hold."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            head = file.read(_HEAD.size)
            if len(head) < _HEAD.size:
                return None
            _, head_bytes, body_bytes, _ = _HEAD.unpack(head)
            content = head + file.read(head_bytes + body_bytes)
    except FileNotFoundError:
        return None
    return _decode_at(memoryview(content), 0, path)
