"""`<data folder>/run/studio.json`: where a running studio is found, and by its lock, whether there is one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import orjson
import psutil
from weightslab_common.errors import FailedPrecondition

_LOOKED_AT_SECS = 1.0


@dataclass(frozen=True, slots=True)
class ServiceEntry:
    """A process of the studio. `created_unix_secs` tells it from a later one with the same pid."""

    name: str
    pid: int
    created_unix_secs: float


@dataclass(frozen=True, slots=True)
class StudioEntry:
    """What other commands need to know of a studio."""

    pid: int
    # `starting`, `ready` or `stopped`.
    state: str
    page_url: str
    nats_url: str
    redis_url: str
    web_port: int
    admin_port: int
    grpc_port: int
    page_port: int
    version: str
    services: list[ServiceEntry] = field(default_factory=list)
    # Whether it ends with the last training process that is attached to it.
    ends_with_runs: bool = False


def run_folder(data_dir: Path) -> Path:
    return data_dir / "run"


def _file(data_dir: Path) -> Path:
    return run_folder(data_dir) / "studio.json"


def write(data_dir: Path, entry: StudioEntry) -> None:
    """Replace the run file at once, readable by its owner only: it names the store's password."""
    file = _file(data_dir)
    fresh = file.with_suffix(".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as output:
        output.write(orjson.dumps(asdict(entry), option=orjson.OPT_INDENT_2))
    fresh.replace(file)


def read(data_dir: Path) -> StudioEntry | None:
    """The studio that was last started in this folder, running or not; None when the file is missing or damaged."""
    try:
        entry = orjson.loads(_file(data_dir).read_bytes())
        services = [ServiceEntry(**service) for service in entry.pop("services")]
        return StudioEntry(**entry, services=services)
    except (OSError, orjson.JSONDecodeError, TypeError, KeyError):
        return None


def running(data_dir: Path) -> StudioEntry | None:
    """The studio that runs in this folder now."""
    if not is_locked(data_dir):
        return None
    return read(data_dir)


def is_locked(data_dir: Path) -> bool:
    """Whether a studio runs in this folder, even one that has not written its file yet."""
    try:
        descriptor = os.open(_lock(data_dir), os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def nats_token_file(data_dir: Path) -> Path:
    return run_folder(data_dir) / "nats.token"


def nats_token(data_dir: Path) -> str | None:
    """The token of the embedded bus in this folder; None when it has never had one."""
    try:
        return nats_token_file(data_dir).read_text().strip()
    except OSError:
        return None


def _lock(data_dir: Path) -> Path:
    return run_folder(data_dir) / "studio.lock"


@contextlib.contextmanager
def owned(data_dir: Path) -> Iterator[StudioEntry | None]:
    """Own the folder while in this context; gives what the last studio wrote.

    The lock goes with the process, however it ends. Raises FailedPrecondition when another studio owns it.
    """
    try:
        run_folder(data_dir).mkdir(parents=True, exist_ok=True)
        descriptor = os.open(_lock(data_dir), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise FailedPrecondition(
            f"the data folder {data_dir} cannot be used ({error.strerror}): choose another with --data-dir or "
            "WL_DATA_DIR"
        ) from error
    try:
        if not _lock_exclusively(descriptor):
            raise FailedPrecondition(_already_running(data_dir))
        previous = read(data_dir)
        if previous:
            # Until the new one is known, nobody must take the old one's addresses for those of a studio that is ready.
            write(data_dir, replace(previous, pid=os.getpid(), state="starting"))
        yield previous
    finally:
        os.close(descriptor)


def _lock_exclusively(descriptor: int) -> bool:
    # A command that only looks whether there is a studio holds the lock for an instant, longer on a busy machine.
    end = time.monotonic() + _LOOKED_AT_SECS
    while time.monotonic() < end:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.05)
        else:
            return True
    return False


def _already_running(data_dir: Path) -> str:
    other = read(data_dir)
    where = f" at {other.page_url} (process {other.pid})" if other else ""
    return (
        f"a studio already runs with the data folder {data_dir}{where}: use that one (`weightslab token --link` gives "
        "a link to it), stop it, or choose another folder with --data-dir or WL_DATA_DIR"
    )


def end_leftovers(previous: StudioEntry | None) -> list[str]:
    """Kill what a studio that was itself killed has left running; return their names."""
    left = []
    for service in previous.services if previous else []:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(service.pid)
            if abs(process.create_time() - service.created_unix_secs) < 1:
                process.kill()
                process.wait(5)
                left.append(service.name)
    return left
