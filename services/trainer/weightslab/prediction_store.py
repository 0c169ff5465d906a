"""Predictions of samples on disk: written by the trainer, read by its media worker. Knows no torch.

One SQLite file: both processes may open it, a killed writer leaves it whole, and a sample is one row per epoch.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from weightslab_common.errors import InvalidArgument

log = logging.getLogger(__name__)

_KEPT_EPOCHS = 8
_PAGE_BYTES = 4096
_BUSY_SECS = 5.0
_BOX_COLUMNS = 6

_SCHEMA = """
create table if not exists prediction (
  id integer primary key autoincrement,
  registration text not null, position integer not null, epoch integer not null, step integer not null,
  kind text not null, form text not null, content blob not null,
  unique (registration, position, epoch)
)
"""
_PUT = """
insert or replace into prediction (registration, position, epoch, step, kind, form, content)
values (?, ?, ?, ?, ?, ?, ?)
"""
_GET = """
select position, epoch, step, kind, form, content from prediction
where registration = ? and position = ? and (? is null or epoch = ?) order by id desc limit 1
"""
# The newest of each sample stays, however old it is.
_FORGET = """
delete from prediction where epoch <= ? and id not in (select max(id) from prediction group by registration, position)
"""


@dataclass(frozen=True, slots=True)
class Kept:
    """The prediction of one sample in one epoch. `kind` is `mask` or `boxes`, `form` the dtype and shape as JSON."""

    registration_id: str
    position: int
    epoch: int
    step: int
    kind: str
    form: str
    content: bytes

    def array(self) -> NDArray[Any]:
        """Class ids of a mask; of boxes float32 (N, 6): corners, label, score."""
        form = json.loads(self.form)
        return np.frombuffer(zlib.decompress(self.content), dtype=form["dtype"]).reshape(form["shape"])

    @property
    def version(self) -> str:
        """Changes when the prediction does."""
        return f"{self.epoch}-{self.step}-{zlib.crc32(self.content):08x}"


def mask_entry(mask: NDArray[Any]) -> tuple[str, str, bytes]:
    """Kind, form and content of class ids; those beyond 0 to 65,535 are clipped. Raises InvalidArgument."""
    if mask.ndim not in (2, 3) or mask.dtype.kind not in "uib":
        raise InvalidArgument(f"a predicted mask holds class ids (H, W) or (Z, H, W), not {mask.dtype} {mask.shape}")
    ids = np.clip(mask, 0, 65535) if mask.dtype.kind == "i" and mask.size and mask.min() < 0 else mask
    return "mask", *_packed(ids.astype("u1" if not ids.size or ids.max() <= 255 else "<u2"))


def boxes_entry(table: NDArray[Any]) -> tuple[str, str, bytes]:
    """Kind, form and content of boxes: (N, 6), as `Kept.array` gives them."""
    return "boxes", *_packed(table.astype("<f4").reshape(-1, _BOX_COLUMNS))


def _packed(array: NDArray[Any]) -> tuple[str, bytes]:
    form = json.dumps({"dtype": array.dtype.str, "shape": array.shape})
    return form, zlib.compress(np.ascontiguousarray(array).tobytes(), 1)


class PredictionStore:
    """The newest prediction of each sample, and those of the last epochs, in a file that is bounded in bytes."""

    def __init__(self, path: Path, *, max_bytes: int = 2 * 1024**3) -> None:
        self.path = path
        self.dropped = 0
        self._max_pages = max(16, max_bytes // _PAGE_BYTES)
        self._newest_epoch = 0

    def put(self, entries: Iterable[Kept]) -> None:
        """Keep predictions; those beyond the bound are dropped and counted. Raises OSError, sqlite3.Error."""
        rows = [(e.registration_id, e.position, e.epoch, e.step, e.kind, e.form, e.content) for e in entries]
        if not rows:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._opened() as connection:
            newest = max(row[2] for row in rows)
            if newest != self._newest_epoch:
                self._newest_epoch = newest
                self._forget(connection, before=newest - _KEPT_EPOCHS)
            if not self._inserted(connection, rows):
                # Full: the epochs before give way to the newest.
                self._forget(connection, before=newest - 1)
                if not self._inserted(connection, rows):
                    self._count_dropped(len(rows))

    def get(self, registration_id: str, position: int, *, epoch: int | None = None) -> Kept | None:
        """The newest prediction of a sample, or that of one epoch; None when there is none."""
        if not self.path.exists():
            return None
        with self._opened() as connection:
            row = connection.execute(_GET, (registration_id, position, epoch, epoch)).fetchone()
        return None if row is None else Kept(registration_id, *row)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = self._connection()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            log.warning("the predictions in %s are damaged (%s): they are kept anew", self.path, error)
            for suffix in ("", "-wal", "-shm"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
            connection = self._connection()
        with contextlib.closing(connection):
            yield connection

    def _connection(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=_BUSY_SECS)
        try:
            # What a power failure takes is predicted again.
            for pragma in ("journal_mode = wal", "synchronous = off", f"max_page_count = {self._max_pages}"):
                connection.execute(f"pragma {pragma}")
            connection.execute(_SCHEMA)
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _inserted(self, connection: sqlite3.Connection, rows: list[tuple[Any, ...]]) -> bool:
        try:
            with connection:
                connection.executemany(_PUT, rows)
        except sqlite3.OperationalError as error:
            if "full" not in str(error):
                raise
            return False
        return True

    def _forget(self, connection: sqlite3.Connection, *, before: int) -> None:
        with connection:
            connection.execute(_FORGET, (before,))

    def _count_dropped(self, count: int) -> None:
        if not self.dropped:
            log.warning("%s is full: predictions of samples are no longer kept", self.path)
        self.dropped += count
