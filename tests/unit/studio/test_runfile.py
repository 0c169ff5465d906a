"""One studio per data folder, found by its run file."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from weightslab.studio import runfile
from weightslab_common.errors import FailedPrecondition

ENTRY = runfile.StudioEntry(
    pid=7,
    state="ready",
    page_url="http://localhost:5999",
    nats_url="nats://127.0.0.1:4999",
    redis_url="redis://:secret@127.0.0.1:6999",
    web_port=8999,
    admin_port=9999,
    grpc_port=50999,
    page_port=5999,
    version="1",
)


def test_a_second_studio_in_the_same_folder_is_told_where_the_first_one_is(tmp_path: Path) -> None:
    with runfile.owned(tmp_path):
        runfile.write(tmp_path, ENTRY)
        with pytest.raises(FailedPrecondition, match=r"already runs .* at http://localhost:5999 \(process 7\)"):
            runfile.owned(tmp_path).__enter__()
        assert runfile.running(tmp_path) == ENTRY
    assert runfile.running(tmp_path) is None


def test_the_next_studio_sees_what_the_last_one_wrote(tmp_path: Path) -> None:
    with runfile.owned(tmp_path) as previous:
        assert previous is None
        runfile.write(tmp_path, ENTRY)
    with runfile.owned(tmp_path) as previous:
        assert previous == ENTRY


def test_only_its_owner_can_read_the_file(tmp_path: Path) -> None:
    with runfile.owned(tmp_path):
        runfile.write(tmp_path, ENTRY)
    assert (tmp_path / "run" / "studio.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"services":[{}]}', b'{"pid":1}'])
def test_a_damaged_file_counts_as_none(tmp_path: Path, content: bytes) -> None:
    with runfile.owned(tmp_path):
        (tmp_path / "run" / "studio.json").write_bytes(content)
        assert runfile.read(tmp_path) is None


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FailedPrecondition, match=r"cannot be used .* choose another with --data-dir"):
        runfile.owned(tmp_path / "file").__enter__()


def test_leftovers_are_ended_and_strangers_with_the_same_pid_are_not() -> None:
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        created = psutil.Process(sleeper.pid).create_time()
        stranger = replace(ENTRY, services=[runfile.ServiceEntry("nats", sleeper.pid, created - 100)])
        assert runfile.end_leftovers(stranger) == []
        assert sleeper.poll() is None
        ours = replace(ENTRY, services=[runfile.ServiceEntry("nats", sleeper.pid, created)])
        assert runfile.end_leftovers(ours) == ["nats"]
        assert sleeper.wait(60) is not None
    finally:
        sleeper.kill()
        sleeper.wait()
