from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from weightslab_common.embedded import free_port
from weightslab_ui.assets import PAGE

from tests.support.processes import Process, accepts, wait_until


def host(tmp_path: Path, **environment: str) -> Process:
    return Process([sys.executable, "-m", "weightslab_ui"], log=tmp_path / "ui.log", environment=environment)


@pytest.fixture
def built_page() -> Iterator[None]:
    """The page as it is built, or a stand-in where it is not: what is tested here is the host."""
    if (PAGE / "index.html").exists():
        yield
        return
    PAGE.mkdir(exist_ok=True)
    (PAGE / "index.html").write_text("<!doctype html><title>stand-in</title>")
    yield
    (PAGE / "index.html").unlink()
    PAGE.rmdir()


@pytest.mark.usefixtures("built_page")
def test_the_host_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    port = free_port()
    process = host(tmp_path, VITE_PORT=str(port), WS_SERVER_PORT="8123")
    process.start()
    wait_until(lambda: accepts(port), what="the host listens")
    assert httpx.get(f"http://127.0.0.1:{port}/config.json").json()["serverUrl"] == "http://127.0.0.1:8123"
    assert process.stop() == 0


@pytest.mark.usefixtures("built_page")
def test_a_busy_port_is_one_sentence_that_names_the_setting(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        process = host(tmp_path, VITE_PORT=str(port))
        process.start()
        wait_until(lambda: not process.running, what="the host gives up")
    assert process.stop() == 2
    lines = process.output().splitlines()
    assert len(lines) == 1
    assert f"port {port}" in lines[0]
    assert "VITE_PORT" in lines[0]


def test_a_wrong_setting_is_one_sentence(tmp_path: Path) -> None:
    process = host(tmp_path, VITE_PORT="many")
    process.start()
    wait_until(lambda: not process.running, what="the host gives up")
    assert process.stop() == 2
    assert process.output().startswith("setting VITE_PORT:")
