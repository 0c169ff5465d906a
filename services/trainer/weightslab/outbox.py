"""Messages that wait for the bus: in memory up to a limit, then in a file, then dropped and counted.

Owned by the publisher thread. Order is kept: what is in memory is older than what is in the file and not yet read.
While the bus takes nothing, all that waits is in the file, too, so that a killed process leaves it to the next one.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import struct
import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO

log = logging.getLogger(__name__)

# crc32 over the rest, length of the address, length of the payload.
_FRAME = struct.Struct("<III")
_SUFFIX = ".spool"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message for JetStream."""

    subject: str
    message_id: str
    payload: bytes


class Outbox:
    """A first-in-first-out queue of messages, bounded in bytes in memory and on disk."""

    def __init__(
        self,
        folder: Path,
        *,
        name: str,
        memory_bytes: int = 16 * 1024 * 1024,
        disk_bytes: int = 1024 * 1024 * 1024,
    ) -> None:
        self._memory: deque[Outgoing] = deque()
        self._memory_bytes = 0
        # So many of the oldest in memory stand in a file as well.
        self._kept_count = 0
        self._memory_limit = memory_bytes
        self._disk_limit = disk_bytes
        self._spool = _Spool(folder / f"{name}{_SUFFIX}")
        self._left_behind = [_Spool(path) for path in _left_behind(folder, self._spool.path)]

    def __len__(self) -> int:
        return len(self._memory) + self._spool.waiting

    def put(self, message: Outgoing, *, spare_share: float = 0.0, to_disk: bool = False) -> bool:
        """Queue a message; False when there is no room. `spare_share` of the disk is left for other messages.

        `to_disk` keeps it from the end of the process, where the disk can be written.
        """
        fits = not self._spool.waiting and self._memory_bytes + len(message.payload) <= self._memory_limit
        if not (fits and not to_disk) and self._spooled(message, spare_share=spare_share):
            return True
        if fits:
            self._remember(message)
        return fits

    def keep(self) -> None:
        """Write what waits in memory to disk, too."""
        if self._spool.waiting:
            # What is in the file now is younger. It went there because the memory is full.
            return
        try:
            for message in islice(self._memory, self._kept_count, None):
                self._spool.append(message, read=True)
                self._kept_count += 1
        except OSError as error:
            log.warning("the spool file cannot be written: %s", error)

    def head(self) -> Outgoing | None:
        """The oldest message, which stays until `pop`."""
        if not self._memory:
            self._refill()
        return self._memory[0] if self._memory else None

    def pop(self) -> None:
        """The oldest message is stored by the bus."""
        self._memory_bytes -= len(self._memory.popleft().payload)
        self._kept_count = max(0, self._kept_count - 1)
        if not self._memory and not self._spool.waiting:
            self._spool.clear()

    def close(self) -> None:
        """Keep what waits for the next process, on disk."""
        if self._memory:
            rest = [*self._memory, *self._spool.take(1 << 62)]
            self._spool.clear()
            for message in rest:
                self._spool.append(message)
        self._spool.close()

    def _remember(self, message: Outgoing) -> None:
        self._memory.append(message)
        self._memory_bytes += len(message.payload)

    def _spooled(self, message: Outgoing, *, spare_share: float) -> bool:
        if self._spool.size_bytes + len(message.payload) > self._disk_limit * (1 - spare_share):
            return False
        try:
            self._spool.append(message)
        except OSError as error:
            log.warning("the spool file cannot be written: %s", error)
            return False
        return True

    def _refill(self) -> None:
        while self._left_behind and not self._memory:
            # Messages of a process that was killed. The ledger knows by run and sequence what it has already.
            self._remember_all(self._left_behind[0])
            if not self._memory:
                # All of it was sent.
                self._left_behind.pop(0).clear()
        if not self._memory:
            self._remember_all(self._spool)

    def _remember_all(self, spool: _Spool) -> None:
        for message in spool.take(self._memory_limit // 2):
            self._remember(message)
        self._kept_count = len(self._memory)


class _Spool:
    """A file of framed messages, made at the first append and removed when all are sent."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.waiting = 0
        self.size_bytes = 0
        self._read_to = 0
        self._file: IO[bytes] | None = None

    def append(self, message: Outgoing, *, read: bool = False) -> None:
        """Add a message; one that is `read` is not taken any more, and all before it are."""
        file = self._open()
        file.seek(0, os.SEEK_END)
        address = f"{message.subject}\n{message.message_id}".encode()
        body = address + message.payload
        file.write(_FRAME.pack(zlib.crc32(body), len(address), len(message.payload)) + body)
        file.flush()
        self.size_bytes = file.tell()
        if read:
            self._read_to = self.size_bytes
        else:
            self.waiting += 1

    def take(self, limit_bytes: int) -> list[Outgoing]:
        """The next messages, about `limit_bytes` of them."""
        if self._file is None and not self.path.exists():
            return []
        file = self._open()
        file.seek(self._read_to)
        taken: list[Outgoing] = []
        total = 0
        for message in _frames(file):
            taken.append(message)
            total += len(message.payload)
            self._read_to = file.tell()
            if total >= limit_bytes:
                break
        self.waiting = max(0, self.waiting - len(taken)) if taken else 0
        return taken

    def clear(self) -> None:
        self.close()
        # Where it cannot be removed it is sent again, and known by run and sequence.
        with contextlib.suppress(OSError):
            self.path.unlink()
        self.waiting = self.size_bytes = self._read_to = 0

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> IO[bytes]:
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("a+b")
            # Held as long as this process lives, so that another does not take a living one's messages.
            fcntl.flock(self._file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return self._file


def _frames(file: IO[bytes]) -> Iterator[Outgoing]:
    """The whole frames from here on; a torn last one, of a process that was killed while it wrote, ends it."""
    while len(header := file.read(_FRAME.size)) == _FRAME.size:
        checksum, address_bytes, payload_bytes = _FRAME.unpack(header)
        body = file.read(address_bytes + payload_bytes)
        if len(body) < address_bytes + payload_bytes or zlib.crc32(body) != checksum:
            return
        subject, _, message_id = body[:address_bytes].decode().partition("\n")
        yield Outgoing(subject, message_id, body[address_bytes:])


def _left_behind(folder: Path, own: Path) -> list[Path]:
    """Spool files that no living process holds, oldest first."""
    found: list[Path] = []
    for path in sorted(folder.glob(f"*{_SUFFIX}"), key=lambda path: path.stat().st_mtime):
        if path == own:
            continue
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
        found.append(path)
    return found
