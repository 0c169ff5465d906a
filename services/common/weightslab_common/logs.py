"""Logging: one line per event, text for people and JSON for machines.

Levels: ERROR data or an operation was lost; WARNING recovered; INFO rare and for the operator; DEBUG each operation.
An error is handled exactly once: what logs it does not pass it on.
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime

import orjson

from weightslab_common.requests import current_request_id

_STANDARD = set(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in record.__dict__.items() if name not in _STANDARD}


class _JsonFormatter(logging.Formatter):
    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "service": self._service,
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(entry, default=str).decode()


class _TextFormatter(logging.Formatter):
    def __init__(self, service: str) -> None:
        super().__init__(f"%(asctime)s %(levelname)-7s {service}: %(message)s", datefmt="%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        fields = " ".join(f"{name}={value}" for name, value in _fields(record).items())
        text = super().format(record)
        return f"{text} {fields}" if fields else text


def _add_request_id(record: logging.LogRecord) -> bool:
    request_id = current_request_id()
    if request_id and not hasattr(record, "request_id"):
        record.request_id = request_id
    return True


def configure(service: str, *, level: str, format: str) -> None:
    """Send all logs of this process to stderr, marked with the name of the service and the id of the request."""
    as_json = format == "json" or (format == "auto" and not sys.stderr.isatty())
    handler = logging.StreamHandler()
    handler.addFilter(_add_request_id)
    handler.setFormatter(_JsonFormatter(service) if as_json else _TextFormatter(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # Their INFO is our DEBUG: a line per connection or request says nothing to an operator.
    for noisy in ("nats", "uvicorn.access", "hpack", "asyncio"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
