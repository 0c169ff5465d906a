"""Append-only files of records that notice every torn or flipped byte.

A record is `magic u32 | header length u32 | body length u32 | crc32 u32 | crc32 u32 | header | body`, little-endian;
the first checksum is over the lengths and the header, the second over the body, so that headers can be read alone. The
header is JSON. A last record that was never finished is left out; a damaged one is skipped, counted and reported, and
reading goes on at the next one that holds. Records of the former format, with one checksum over both, are read as well.

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

_HEAD = struct.Struct("<IIIII")
_MAGIC = 0x32474C57
_FORMER_HEAD = struct.Struct("<IIII")
_FORMER_MAGIC = 0x31474C57
# What both begin with.
_MAGIC_START = struct.pack("<I", _MAGIC)[:3]
SEGMENT_BYTES = 64 * 1024**2


@dataclass(frozen=True, slots=True)
class Record:
    """`header`: any JSON object; `body`: what was read, not copied; both at `offset` of the file at `path`."""

    header: dict[str, Any]
    body: memoryview
    path: Path
    offset: int
    size_bytes: int
    # None in the former format.
    body_checksum: int | None

    @property
    def place(self) -> Place:
        """Where the body is. Only of the present format."""
        assert self.body_checksum is not None
        return Place(self.path, self.offset + self.size_bytes - len(self.body), len(self.body), self.body_checksum)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a body is in a file, and its checksum."""

    path: Path
    offset: int
    size_bytes: int
    checksum: int

    def holds(self, body: memoryview) -> bool:
        return len(body) == self.size_bytes and zlib.crc32(body) == self.checksum


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
    return _HEAD.pack(_MAGIC, len(head), len(body), zlib.crc32(head, zlib.crc32(lengths)), zlib.crc32(body)) + head


@dataclass(frozen=True, slots=True)
class _Head:
    """The numbers that a record begins with. `checksum`: of the header, in the former format of header and body."""

    size_bytes: int
    header_bytes: int
    body_bytes: int
    checksum: int
    body_checksum: int | None

    @property
    def record_bytes(self) -> int:
        return self.size_bytes + self.header_bytes + self.body_bytes


def _head_at(data: memoryview | bytes, offset: int) -> _Head | None:
    for kind, known in ((_HEAD, _MAGIC), (_FORMER_HEAD, _FORMER_MAGIC)):
        if offset + kind.size <= len(data):
            magic, *numbers = kind.unpack_from(data, offset)
            if magic == known:
                return _Head(kind.size, *numbers, *(() if kind is _HEAD else (None,)))
    return None


def _decode_at(data: memoryview, offset: int, path: Path, *, bodies: bool = True) -> Record | None:
    """The record that starts at `offset`, or None when there is none that holds; without `bodies` its header must."""
    head = _head_at(data, offset)
    if head is None or offset + head.record_bytes > len(data):
        return None
    start = offset + head.size_bytes
    body_at, end = start + head.header_bytes, offset + head.record_bytes
    crc = zlib.crc32(data[start:body_at], zlib.crc32(struct.pack("<II", head.header_bytes, head.body_bytes)))
    if head.body_checksum is None:
        crc = zlib.crc32(data[body_at:end], crc)
    elif bodies and zlib.crc32(data[body_at:end]) != head.body_checksum:
        return None
    if crc != head.checksum:
        return None
    return Record(
        orjson.loads(bytes(data[start:body_at])), data[body_at:end], path, offset, head.record_bytes, head.body_checksum
    )


def read_file(path: Path, damage: Damage) -> Iterator[Record]:
    """The records of a file that hold, in order; what is skipped is counted in `damage`."""
    return decode(path.read_bytes(), path, damage)


def decode(content: bytes | mmap.mmap, path: Path, damage: Damage, *, bodies: bool = True) -> Iterator[Record]:
    """The records in `content`, which was read or mapped from `path`; without `bodies` only headers are checked."""
    data = memoryview(content)
    offset = 0
    while offset < len(data):
        record = _decode_at(data, offset, path, bodies=bodies)
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
    while (start := content.find(_MAGIC_START, start)) >= 0:
        if _decode_at(data, start, path) is not None:
            return start
        start += 1
    return -1


def _is_whole(data: memoryview, offset: int) -> bool:
    """Whether a record was written to its end, so that what is wrong with it is no torn write."""
    if offset + _HEAD.size > len(data):
        return False
    _, head_bytes, body_bytes, *_ = _HEAD.unpack_from(data, offset)
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
        self._maps: dict[Path, mmap.mmap | bytes] = {}
        self.damage = Damage()
        folder.mkdir(parents=True, exist_ok=True)

    def paths(self) -> list[Path]:
        return sorted(path for path in self._folder.iterdir() if self._pattern.fullmatch(path.name))

    def load(self, *, bodies: bool = True) -> Iterator[Record]:
        """All records that hold, in order; without `bodies` those are neither read nor checked."""
        limits = self._limits()
        for path in self.paths():
            content = path.read_bytes() if bodies else self._mapped(path, 0)
            for record in decode(content, path, self.damage, bodies=bodies):
                if record.offset >= limits.get(path.name, record.offset + 1):
                    break
                if "lengths" not in record.header:
                    yield record

    def _mapped(self, path: Path, size_bytes: int) -> mmap.mmap | bytes:
        """A file as it was at some time when it had `size_bytes` at least, mapped once. Raises OSError."""
        found = self._maps.get(path)
        if found is None or len(found) < size_bytes:
            with path.open("rb") as file:
                # Nothing can be mapped of an empty file.
                size = os.fstat(file.fileno()).st_size
                found = self._maps[path] = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) if size else b""
        return found

    def body(self, place: Place) -> memoryview:
        """A body, mapped and not checked. Raises OSError, FileNotFoundError when the file was dropped."""
        end = place.offset + place.size_bytes
        return memoryview(self._mapped(place.path, end))[place.offset : end]

    @property
    def truncated(self) -> bool:
        """Whether files that were there once have been dropped."""
        paths = self.paths()
        first = _first_record(paths[0]) if paths else None
        match = self._pattern.fullmatch(paths[0].name) if paths else None
        return bool(match and int(match[2]) > 0) or bool(first and first.header.get("lengths"))

    def _limits(self) -> dict[str, int]:
        """By file name, how far a later owner found it written: what came after that was written unasked."""
        limits: dict[str, int] = {}
        for path in self.paths():
            first = _first_record(path)
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

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        self._size_bytes += len(data)

    def append(self, header: dict[str, Any], body: bytes, *, align: int = 1) -> Place:
        """Write a record whose body begins at a multiple of `align`; durable after the next `sync`.

        Raises OSError, and what was begun then is left behind.
        """
        if self._size_bytes > self._max_bytes or self._torn:
            self._roll()
        self._torn = True
        head = encode_head(header, memoryview(body), offset=self._size_bytes, align=align)
        place = Place(self._path, self._size_bytes + len(head), len(body), _HEAD.unpack_from(head)[-1])
        self._write(head + body)
        self._torn = False
        return place

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
            self._maps.pop(path, None)
            dropped.append(path)
        return dropped

    def close(self) -> None:
        if self._file is not None:
            self.sync()
            self._file.close()
            self._file = None


def _first_record(path: Path) -> Record | None:
    """What a file begins with; None when the file is gone or its first record does not hold."""
    try:
        with path.open("rb") as file:
            content = file.read(_HEAD.size)
            head = _head_at(content, 0)
            if head is None:
                return None
            content += file.read(max(0, head.record_bytes - len(content)))
    except FileNotFoundError:
        return None
    return _decode_at(memoryview(content), 0, path)
