"""Copies everything a deployment keeps, while it runs, into a folder; and back into an empty deployment.

    python -m weightslab_ledger.backup save FOLDER
    python -m weightslab_ledger.backup load FOLDER

What the ledger reads by its settings is what is copied: its files, the streams of the bus, the keys of the store. The
order makes a copy of a running deployment whole: the files, then the streams, which hold all that came since, then the
store, which only ever knows more. Checkpoints are files of the trainer, and are copied as such.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
from nats.js.errors import NotFoundError
from weightslab_common import __version__
from weightslab_common.bus import RUN_STREAM, STATUS_STREAM, Bus
from weightslab_common.bus_tls import context_of
from weightslab_common.errors import FailedPrecondition, InvalidArgument, WeightsLabError
from weightslab_common.settings import load

from weightslab_ledger.segments import Damage, encode, read_file
from weightslab_ledger.settings import LedgerSettings
from weightslab_ledger.store import EXPERIMENTS, Keys, Store, script_text
from weightslab_ledger.stream_copy import load_stream, save_stream

MANIFEST = "manifest.json"
STORE_FILE = "store.log"
STREAMS = (RUN_STREAM.name or "", STATUS_STREAM.name or "")
FILES = "ledger"


@contextlib.asynccontextmanager
async def _connected(settings: LedgerSettings) -> AsyncIterator[tuple[Bus, Store]]:
    store = Store(settings.redis_url)
    try:
        bus = await Bus.connect(
            settings.nats_url,
            name="backup",
            token=settings.nats_token,
            wait_for_server=False,
            tls=context_of(settings),
        )
        try:
            yield bus, store
        finally:
            await bus.close()
    finally:
        await store.close()


async def save(settings: LedgerSettings, folder: Path) -> dict[str, Any]:
    """Copy a deployment into `folder`, which must not exist yet; returns the manifest. Raises WeightsLabError, OSError.

    The folder is whole when it has a manifest, which is written last.
    """
    await asyncio.to_thread(_make, folder)
    async with _connected(settings) as (bus, store):
        await asyncio.to_thread(_copy_files, settings.data_dir / FILES, folder / FILES)
        streams = {name: await save_stream(bus, name, folder / f"{name}.stream") for name in STREAMS}
        experiments = await _save_store(store, folder / STORE_FILE)
    files = await asyncio.to_thread(_checksums, folder)
    manifest = {"version": __version__, "experiments": experiments, "streams": streams, "files": files}
    (folder / MANIFEST).write_bytes(orjson.dumps(manifest, option=orjson.OPT_INDENT_2))
    return manifest


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise FailedPrecondition(f"{folder} is there already: name a new folder for each backup") from None


async def restore(settings: LedgerSettings, folder: Path) -> dict[str, Any]:
    """Bring a backup into an empty deployment whose ledgers do not run; returns the manifest.

    Raises InvalidArgument when the backup is not whole, FailedPrecondition when something is there already.
    """
    manifest = await asyncio.to_thread(_whole, folder)
    files = settings.data_dir / FILES
    await asyncio.to_thread(_must_have_none, files)
    async with _connected(settings) as (bus, store):
        await _must_be_empty(bus, store)
        for name, told in manifest["streams"].items():
            await load_stream(bus, name, folder / f"{name}.stream", told)
        await _load_store(store, folder / STORE_FILE)
        await asyncio.to_thread(_copy_files, folder / FILES, files)
    return manifest


def _must_have_none(files: Path) -> None:
    if files.exists() and any(files.iterdir()):
        raise FailedPrecondition(f"{files} is not empty: a backup is loaded into an empty deployment only")


async def _must_be_empty(bus: Bus, store: Store) -> None:
    with store.reaching() as client:
        if await client.exists(EXPERIMENTS):
            raise FailedPrecondition(f"the store at {store.address} has experiments already: load into an empty one")
    for name in STREAMS:
        with contextlib.suppress(NotFoundError):
            await bus.js.stream_info(name)
            raise FailedPrecondition(f"NATS has a stream {name} already: stop ledgers and trainers, and delete it")


async def _save_store(store: Store, path: Path) -> list[str]:
    with store.reaching() as client:
        names = sorted(name.decode() for name in await client.smembers(EXPERIMENTS))
    dump = store.client.register_script(script_text("dump.lua"))
    with path.open("wb") as file:
        for name in names:
            keys = Keys(name)
            with store.reaching():
                found = await dump(keys=[keys.fence], args=[keys("*"), keys.lease])
            for key, value in zip(found[::2], found[1::2], strict=True):
                await asyncio.to_thread(file.write, encode({"experiment": name, "key": key.decode()}, value))
    return names


async def _load_store(store: Store, path: Path) -> None:
    damage = Damage()
    names = set()
    for record in read_file(path, damage):
        names.add(record.header["experiment"])
        with store.reaching() as client:
            await client.restore(record.header["key"], 0, record.body)
    if names:
        with store.reaching() as client:
            # Last: ledgers look for experiments here.
            await client.sadd(EXPERIMENTS, *sorted(names))


def _copy_files(source: Path, target: Path) -> None:
    """Copy the ledger's files; snapshots first, so that what they count on is at least as new as they are."""
    if not source.exists():
        return
    paths = [path for path in source.rglob("*") if path.is_file() and path.suffix != ".draft"]
    for path in sorted(paths, key=lambda path: (path.suffix != ".snap", str(path))):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        # The ledger drops its oldest files while it runs.
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(path, copy)


def _checksums(folder: Path) -> dict[str, str]:
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST):
        with path.open("rb") as file:
            found[str(path.relative_to(folder))] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _whole(folder: Path) -> dict[str, Any]:
    """The manifest of a backup. Raises InvalidArgument when it is not as it was written."""
    try:
        manifest: dict[str, Any] = orjson.loads((folder / MANIFEST).read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise InvalidArgument(f"{folder} is no backup that was finished: {error}") from error
    found = _checksums(folder)
    wrong = sorted(name for name in manifest["files"].keys() | found if manifest["files"].get(name) != found.get(name))
    if wrong:
        raise InvalidArgument(f"{folder} is not as it was written; these files differ: {', '.join(wrong[:5])}")
    return manifest


async def _run(action: str, settings: LedgerSettings, folder: Path) -> int:
    try:
        manifest = await (save if action == "save" else restore)(settings, folder)
    except WeightsLabError as error:
        sys.stderr.write(f"{error.message}\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"{error.filename or folder}: {error.strerror or error}\n")
        return 1
    messages = sum(told["state"]["messages"] for told in manifest["streams"].values())
    done = "saved to" if action == "save" else "loaded from"
    names = ", ".join(manifest["experiments"]) or "none"
    sys.stdout.write(f"{done} {folder}: experiments {names}; {messages} messages; {len(manifest['files'])} files\n")
    return 0


def main() -> int:
    """Returns the exit status: 1 when it could not be done, with one sentence that says why."""
    parser = argparse.ArgumentParser(prog="python -m weightslab_ledger.backup")
    parser.add_argument("action", choices=["save", "load"])
    parser.add_argument("folder", type=Path, help="the folder of the backup; save makes it")
    given = parser.parse_args()
    return asyncio.run(_run(given.action, load(LedgerSettings), given.folder))


if __name__ == "__main__":
    sys.exit(main())
