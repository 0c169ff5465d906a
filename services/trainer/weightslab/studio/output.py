"""The one stream of logs of all services: read from their pipes, written to the terminal and to a file."""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from weightslab.studio.records import LEVELS, LINE_MAX_BYTES, Record, as_json, as_text, parse

QUEUE_MAX_RECORDS = 10_000
FILE_MAX_BYTES = 8 * 1024 * 1024
FILE_COUNT = 3
_CHUNK_BYTES = 64 * 1024


class Output:
    """Takes records from any thread without ever making it wait; a thread of its own writes them.

    When the terminal is slower than the services, new records are dropped and counted: a service must never block on
    its log because somebody stopped the terminal.
    """

    def __init__(self, *, level: str, format: str, stream: TextIO | None, file: Path | None) -> None:
        self.dropped_records = 0
        self._stream = stream
        self._least = LEVELS.index(level)
        terminal = stream is not None and stream.isatty()
        self._json = format == "json" or (format == "auto" and not terminal)
        self._colours = terminal and not os.environ.get("NO_COLOR")
        self._queue: queue.Queue[Record | None] = queue.Queue(QUEUE_MAX_RECORDS)
        self._file = _rotating(file) if file else None
        self._writer = threading.Thread(target=self._write_all, name="studio-output", daemon=True)
        self._writer.start()

    def put(self, record: Record) -> None:
        if LEVELS.index(record.level) < self._least:
            return
        try:
            self._queue.put_nowait(record)
        except queue.Full:
            self.dropped_records += 1

    def say(self, level: str, message: str, **fields: object) -> None:
        """A record of the studio itself."""
        self.put(Record("studio", level, message, time.time(), dict(fields)))

    def follow(self, service: str, pipe: int, *, keep: Callable[[Record], None]) -> None:
        """Read `pipe` to its end in a thread of its own, then close it; `keep` sees every record first."""

        def read() -> None:
            for line in _lines(pipe):
                record = parse(service, line)
                keep(record)
                self.put(record)

        threading.Thread(target=read, name=f"studio-log-{service}", daemon=True).start()

    def close(self, timeout_secs: float = 2.0) -> None:
        """Write what is waiting, as far as the time allows."""
        with contextlib.suppress(queue.Full):
            self._queue.put(None, timeout=timeout_secs)
            self._writer.join(timeout_secs)
        if self._file:
            self._file.close()

    def _write_all(self) -> None:
        told = 0
        while (record := self._queue.get()) is not None:
            self._write(record)
            if self.dropped_records > told and self._queue.empty():
                told = self.dropped_records
                self._write(
                    Record("studio", "WARNING", f"{told} log lines were dropped, the terminal is slow", time.time())
                )

    def _write(self, record: Record) -> None:
        if self._file:
            self._file.emit(logging.makeLogRecord({"msg": as_json(record)}))
        if self._stream:
            line = as_json(record) if self._json else as_text(record, colours=self._colours)
            try:
                self._stream.write(line + "\n")
                self._stream.flush()
            except (OSError, ValueError):
                # Whoever read it has gone (`weightslab up | head`); the file goes on.
                self._stream = None


def _rotating(file: Path) -> logging.Handler:
    file.parent.mkdir(parents=True, exist_ok=True)
    return logging.handlers.RotatingFileHandler(
        file, maxBytes=FILE_MAX_BYTES, backupCount=FILE_COUNT - 1, encoding="utf-8"
    )


def _lines(pipe: int) -> Iterator[bytes]:
    """Lines of `pipe` until its end; what is longer than LINE_MAX_BYTES comes in pieces. Closes `pipe`."""
    rest = b""
    try:
        while chunk := os.read(pipe, _CHUNK_BYTES):
            *whole, rest = (rest + chunk).split(b"\n")
            yield from (line for line in whole if line.strip())
            while len(rest) > LINE_MAX_BYTES:
                yield rest[:LINE_MAX_BYTES]
                rest = rest[LINE_MAX_BYTES:]
        if rest.strip():
            yield rest
    finally:
        os.close(pipe)


def standard_output(*, level: str, format: str, file: Path | None) -> Output:
    """Logs go to stderr, so that what a command answers on stdout stays clean."""
    return Output(level=level, format=format, stream=sys.stderr, file=file)
