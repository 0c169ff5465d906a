"""The public API keeps its word: what a client of an earlier version relies on is still there."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.compliance.bundle import ADVICE, BIN
from tools.generate_proto import PROTO

# The descriptors of the API as it was promised. After an addition it may be replaced by
# `proto/python/weightslab_proto/descriptors.binpb`, so that the addition is promised, too; never after anything else.
BASELINE = Path(__file__).parent / "api_baseline.binpb"
PUBLIC = "weightslab/v1"


def _buf(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    assert (BIN / "buf").exists(), ADVICE
    return subprocess.run([str(BIN / "buf"), *arguments], cwd=folder, capture_output=True, text=True)


def _breaking(folder: Path) -> subprocess.CompletedProcess[str]:
    return _buf("breaking", "--against", str(BASELINE), "--path", PUBLIC, folder=folder)


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    """A copy of the contract, to be changed."""
    folder = tmp_path / "proto"
    shutil.copytree(PROTO, folder, ignore=shutil.ignore_patterns("python"))
    return folder


def _replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert text.count(old) == 1, f"{old!r} is in {file.name} {text.count(old)} times"
    file.write_text(text.replace(old, new))


def test_the_contract_is_written_as_is_customary() -> None:
    result = _buf("lint", folder=PROTO)
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_call_without_a_word_on_it_is_noticed(changed: Path) -> None:
    _replace(changed / PUBLIC / "experiment.proto", "  // The checkpoints that can be loaded.\n", "")
    result = _buf("lint", folder=changed)
    assert result.returncode == 100
    assert "ListCheckpoints" in result.stdout


def test_nothing_that_was_promised_is_broken() -> None:
    result = _breaking(PROTO)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("  uint64 revision = 4;\n  // Whether the viewer", "  uint64 revision = 40;\n  // Whether the viewer"),
        ("int32 max_rate_hz = 2;", "string max_rate_hz = 2;"),
        ("int32 max_rate_hz = 2;", "int32 max_rate = 2;"),
        ("  rpc Pause(PauseRequest) returns (PauseResponse);\n", ""),
    ],
    ids=["number", "type", "name", "call"],
)
def test_a_change_that_breaks_clients_is_noticed(changed: Path, old: str, new: str) -> None:
    _replace(changed / PUBLIC / "experiment.proto", old, new)
    result = _breaking(changed)
    assert result.returncode == 100, result.stdout + result.stderr
    assert "experiment.proto" in result.stdout


def test_an_addition_is_fine(changed: Path) -> None:
    _replace(
        changed / PUBLIC / "experiment.proto", "int32 max_rate_hz = 2;", "int32 max_rate_hz = 2;\n  bool more = 99;"
    )
    result = _breaking(changed)
    assert result.returncode == 0, result.stdout + result.stderr
