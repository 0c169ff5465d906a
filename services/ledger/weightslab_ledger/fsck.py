"""`python -m weightslab_ledger.fsck [--json] [experiment …]`: do edit log and store agree, do files hold?

Reads only. Prints what differs or is damaged, and ends with status 1 when anything does.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

import orjson
from weightslab_common.errors import NotFound, WeightsLabError
from weightslab_common.settings import load

from weightslab_ledger.edit_store import EditStore, differences
from weightslab_ledger.edits import EditState
from weightslab_ledger.segments import Damage, read_file
from weightslab_ledger.settings import LedgerSettings
from weightslab_ledger.store import EXPERIMENTS, Store


async def check(store: Store, experiments: list[str]) -> dict[str, list[str]]:
    """What differs, by experiment; all that the store knows when none is named. Raises Unavailable, NotFound."""
    with store.reaching() as client:
        known = sorted(name.decode() for name in await client.smembers(EXPERIMENTS))
    if unknown := [name for name in experiments if name not in known]:
        raise NotFound(f"the store knows no {', '.join(map(repr, unknown))}; it knows {', '.join(known) or 'nothing'}")
    found: dict[str, list[str]] = {}
    for experiment in experiments or known:
        state, edits = EditState(), EditStore(store, experiment)
        async for entry in edits.load(0):
            state.apply(entry)
        found[experiment] = differences(state, await edits.bitmaps())
    return found


def check_files(folder: Path) -> list[str]:
    """One sentence per file of an experiment's folder that is damaged or was set aside. Blocks."""
    sentences = []
    for path in sorted([*folder.glob("*.log"), *folder.glob("*.snap")]):
        damage = Damage()
        record_count = sum(1 for _ in read_file(path, damage))
        if damage.records:
            sentences.append(
                f"{path.name}: {damage.records} damaged places ({damage.bytes} bytes) between {record_count} records"
            )
    return sentences + [f"{path.name} was set aside as damaged" for path in sorted(folder.glob("*.damaged"))]


async def _checked(settings: LedgerSettings, experiments: list[str], *, as_json: bool) -> int:
    store = Store(settings.redis_url)
    try:
        found = await check(store, experiments)
    except WeightsLabError as error:
        sys.stderr.write(f"{error.message}\n")
        return 2
    finally:
        await store.close()
    for experiment, sentences in found.items():
        sentences += check_files(settings.data_dir / "ledger" / experiment)
        if not as_json:
            sys.stdout.write(
                f"{experiment}: {'; '.join(sentences) or 'the log and the bitmaps agree, and the files hold'}\n"
            )
    if as_json:
        sys.stdout.write(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode() + "\n")
    return 1 if any(found.values()) else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m weightslab_ledger.fsck")
    parser.add_argument("experiments", nargs="*", help="all of them when none is named")
    parser.add_argument("--json", action="store_true", help="the differences of each as JSON")
    given = parser.parse_args()
    return asyncio.run(_checked(load(LedgerSettings), given.experiments, as_json=given.json))


if __name__ == "__main__":
    sys.exit(main())
