"""What the doctor says of real servers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from weightslab.studio.checkup import examine
from weightslab.studio.findings import Finding, Health, well
from weightslab.studio.settings import StudioSettings
from weightslab_common import __version__
from weightslab_common.bus import Bus
from weightslab_common.embedded import free_port, store_command
from weightslab_common.settings import load

from tests.support.processes import Process, accepts, wait_until


@pytest.fixture
def store(tmp_path: Path) -> Iterator[int]:
    """A store with a password that does not sync every write."""
    port = free_port()
    command = store_command(tmp_path / "store", port=port, password="secret")
    configuration = tmp_path / "store" / "store.conf"
    configuration.write_text(configuration.read_text().replace("appendfsync always", "appendfsync everysec"))
    process = Process(command, log=tmp_path / "log")
    process.start()
    try:
        wait_until(lambda: accepts(port), what="the store listens")
        yield port
    finally:
        process.stop()


async def _examined(folder: Path, **settings: object) -> dict[str, Finding]:
    flags = {"admin_port": free_port(), "page_port": free_port(), "data_dir": folder, **settings}
    return {finding.part: finding for finding in await examine(load(StudioSettings, **flags))}


async def test_servers_that_answer_are_well(nats_url: str, redis_url: str, tmp_path: Path) -> None:
    bus = await Bus.connect(nats_url, name="test")
    await bus.ensure_streams()
    await bus.close()
    found = await _examined(tmp_path, nats_url=nats_url, redis_url=redis_url)
    assert found["bus"].health is Health.OK
    assert "NATS 2." in found["bus"].detail
    assert found["store"].health is Health.OK
    assert re.search(r"127\.0\.0\.1:\d+, Valkey \d+\.\d+", found["store"].detail)
    assert found["clock"].health is Health.OK
    assert found["gateway"].health is Health.MISSING
    assert "VITE_PORT" in found["page"].advice


async def test_servers_that_do_not_answer_are_missing_with_advice(tmp_path: Path) -> None:
    found = await _examined(
        tmp_path, nats_url=f"nats://127.0.0.1:{free_port()}", redis_url=f"redis://127.0.0.1:{free_port()}"
    )
    for part in ("bus", "ledger", "store"):
        assert found[part].health is Health.MISSING
    assert "WL_NATS_URL" in found["bus"].advice
    assert "WL_REDIS_URL" in found["store"].advice


async def test_a_store_that_could_lose_an_edit_is_noted(store: int, tmp_path: Path) -> None:
    found = await _examined(tmp_path, redis_url=f"redis://:secret@127.0.0.1:{store}")
    assert found["store"].health is Health.NOTE
    assert "appendfsync" in found["store"].advice


async def test_a_wrong_password_is_told(store: int, tmp_path: Path) -> None:
    found = await _examined(tmp_path, redis_url=f"redis://:wrong@127.0.0.1:{store}")
    assert found["store"].health is Health.MISSING
    assert "refuses the password" in found["store"].detail
    assert "wrong" not in found["store"].detail


def test_a_part_of_another_version_is_noted() -> None:
    assert well("ledger", "answers", version=__version__).health is Health.OK
    other = well("ledger", "answers", version="0.0.1")
    assert other.health is Health.NOTE
    assert "version 0.0.1" in other.detail
    assert __version__ in other.advice
