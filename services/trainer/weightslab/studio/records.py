"""Lines that services write, read into one form and written again for people or machines."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

import orjson

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
# Longer lines are cut: a service that never ends a line must not fill the memory.
LINE_MAX_BYTES = 64 * 1024

_NATS = re.compile(r"\[\d+\] \S+ \S+ \[(?P<level>[A-Z]{3})\] ?(?P<message>.*)")
_STORE = re.compile(r"\d+:(?:[A-Z] \d+ \w+ \d+ [\d:.]+ (?P<level>[.*#-])|signal-handler \(\d+\)) (?P<message>.*)")
# What these two call information is detail here: a line per start and per file.
_FOREIGN_LEVELS = {
    "TRC": "DEBUG",
    "DBG": "DEBUG",
    "INF": "DEBUG",
    "WRN": "WARNING",
    "ERR": "ERROR",
    "FTL": "ERROR",
    ".": "DEBUG",
    "-": "DEBUG",
    "*": "DEBUG",
    "#": "WARNING",
    None: "DEBUG",
}
# The store warns of these at each start and end; it forks for no snapshot here, so that memory is enough.
_ROUTINE = ("Memory overcommit must be enabled", "is now ready to exit")

_COLOURS = {"DEBUG": "2", "INFO": "", "WARNING": "33", "ERROR": "31", "CRITICAL": "31"}
_SERVICE_COLOURS = ("36", "35", "34", "32", "96", "95", "94", "92")


@dataclass(frozen=True, slots=True)
class Record:
    """One event of one service."""

    service: str
    level: str
    message: str
    time_unix_secs: float
    fields: dict[str, object] = field(default_factory=dict)


def parse(service: str, line: bytes) -> Record:
    """Read a line of `service`: our JSON, the form of NATS or of the store, or any text."""
    now = time.time()
    if line.startswith(b"{"):
        record = _parse_json(service, line, now)
        if record:
            return record
    text = line[:LINE_MAX_BYTES].decode("utf-8", "replace").rstrip()
    for form in (_NATS, _STORE):
        match = form.fullmatch(text)
        if match:
            quiet = any(phrase in match["message"] for phrase in _ROUTINE)
            level = "DEBUG" if quiet else _FOREIGN_LEVELS.get(match["level"], "INFO")
            return Record(service, level, match["message"], now)
    return Record(service, "INFO", text, now)


def _parse_json(service: str, line: bytes, now: float) -> Record | None:
    try:
        entry = orjson.loads(line)
        level, message = str(entry.pop("level")), str(entry.pop("message"))
        seconds = datetime.fromisoformat(str(entry.pop("time"))).timestamp() if "time" in entry else now
    except (orjson.JSONDecodeError, KeyError, ValueError):
        return None
    if level not in LEVELS:
        return None
    entry.pop("service", None)
    # A second form of the message, for terminals.
    entry.pop("color_message", None)
    if level == "INFO" and str(entry.get("logger", "")).startswith("uvicorn"):
        level = "DEBUG"
    return Record(service, level, message, seconds, entry)


def as_json(record: Record) -> str:
    """One line of JSON, with the keys that every service writes."""
    entry = {
        "time": datetime.fromtimestamp(record.time_unix_secs, UTC).isoformat(timespec="milliseconds"),
        "level": record.level,
        "service": record.service,
        "message": record.message,
        **record.fields,
    }
    return orjson.dumps(entry, default=str).decode()


def as_text(record: Record, *, colours: bool) -> str:
    """One line for people, more when there is a traceback."""
    clock = datetime.fromtimestamp(record.time_unix_secs).strftime("%H:%M:%S")
    fields = dict(record.fields)
    fields.pop("logger", None)
    exception = str(fields.pop("exception", ""))
    message = printable(record.message)
    if fields:
        message += " " + " ".join(f"{name}={printable(str(value))}" for name, value in fields.items())
    if exception:
        message += "\n" + "\n".join(f"    {printable(part)}" for part in exception.splitlines())
    service, level = f"{record.service:<8}", f"{record.level:<7}"
    if colours:
        service = _paint(service, _SERVICE_COLOURS[sum(record.service.encode()) % len(_SERVICE_COLOURS)])
        level = _paint(level, _COLOURS[record.level])
        message = _paint(message, _COLOURS[record.level])
    return f"{clock} {service} {level} {message}"


def printable(text: str) -> str:
    """`text` without control characters, which could act on a terminal."""
    return "".join(character if character.isprintable() else "�" for character in text.replace("\t", " "))


def _paint(text: str, code: str) -> str:
    return f"\033[{code}m{text}\033[0m" if code else text
