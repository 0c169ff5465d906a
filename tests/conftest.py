"""Fixtures that every kind of test may use: real servers, and a whole running studio."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from weightslab_common import embedded

from tests.support.processes import Process, accepts, wait_until
from tests.support.running import running_studio
from tests.support.studio import Studio

# A busy machine is no fault of what is tested.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_configure() -> None:
    # A shell lets what it starts in the background ignore Ctrl-C, and so do all the processes of the tests then.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The main job first, as a new user does it: on a run that nobody has touched yet."""
    items.sort(key=lambda item: "test_main_job" not in item.nodeid)


def _serve(command: list[str], port: int, log: Path) -> Iterator[Process]:
    process = Process(command, log=log)
    process.start()
    try:
        wait_until(lambda: accepts(port) or not process.running, what=f"{command[0]} listens")
        assert process.running, process.output()
        yield process
    finally:
        process.stop()


@pytest.fixture(scope="session")
def nats_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A NATS server with JetStream that the whole session shares; tests use experiments of their own."""
    folder = tmp_path_factory.mktemp("nats")
    port = embedded.free_port()
    for _ in _serve(embedded.nats_command(folder, port=port), port, folder / "log"):
        yield f"nats://127.0.0.1:{port}"


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis-protocol server, append-only file synced at every write, that the whole session shares."""
    folder = tmp_path_factory.mktemp("store")
    port = embedded.free_port()
    for _ in _serve(embedded.store_command(folder, port=port), port, folder / "log"):
        yield f"redis://127.0.0.1:{port}"


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """The studio with the demo's training run that all tests of the session share; each leaves it training."""
    with running_studio(tmp_path_factory.mktemp("studio")) as studio:
        yield studio
