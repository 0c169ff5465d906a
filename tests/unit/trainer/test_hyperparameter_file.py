"""A YAML file of hyperparameters is followed: typed, all or nothing, and a fault is said while the old values stay."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import weightslab as wl
from weightslab.hyperparameter_file import HyperparameterFile, read
from weightslab.hyperparameters import Hyperparameters
from weightslab_common.errors import InvalidArgument, NotFound

from tests.unit.trainer.peers import Peer
from tests.unit.trainer.served import Script

FIRST = "training:\n  lr: 0.05\n  batch: 8\nname: a\nlayers: [1, 2]\n"


def _followed(path: Path) -> tuple[HyperparameterFile, Hyperparameters]:
    path.write_text(FIRST)
    file, known = HyperparameterFile(path), Hyperparameters()
    known.watch(file.values)
    return file, known


def test_a_file_that_stays_asks_for_nothing(tmp_path: Path) -> None:
    file, known = _followed(tmp_path / "p.yaml")
    assert file.changed(known) is None
    assert known.applied() == {"name": "a", "training.batch": 8, "training.lr": 0.05}


def test_a_changed_file_asks_for_what_differs_in_the_type_that_it_has(tmp_path: Path) -> None:
    file, known = _followed(tmp_path / "p.yaml")
    file.path.write_text("training: {lr: 1, batch: 8}\nname: longer\n")
    change = file.changed(known)
    assert change is not None
    assert change.values == {"training.lr": 1.0, "name": "longer"}
    assert type(change.values["training.lr"]) is float
    assert file.changed(known) is None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("training: {lr: fast, batch: 16}\n", "training.lr is of type float and stays 0.05: 'fast' is no float"),
        ("training: {lr: 0.1, batch: 8.5}\n", "training.batch is of type int"),
        ("training: {lr: .nan}\n", "not finite"),
        ("training: {lr: -1}\n", "a learning rate is not negative"),
        ("unheard: 1\n", "no hyperparameter 'unheard'"),
        ("training: {lr: \n", "is no YAML"),
        ("- 1\n", "holds no mapping"),
        ("!!python/object/apply:os.getcwd []\n", "is no YAML"),
    ],
)
def test_a_wrong_file_asks_for_nothing_and_says_why(tmp_path: Path, text: str, fault: str) -> None:
    file, known = _followed(tmp_path / "p.yaml")
    file.path.write_text(text)
    change = file.changed(known)
    assert change is not None
    assert change.values == {}
    assert "p.yaml is not followed, the old values stay: " in change.fault
    assert fault in change.fault


def test_a_file_that_went_away_is_said_and_followed_again_when_it_is_back(tmp_path: Path) -> None:
    file, known = _followed(tmp_path / "p.yaml")
    file.path.unlink()
    gone = file.changed(known)
    assert gone is not None
    assert "cannot be read" in gone.fault
    file.path.write_text("name: back\n")
    back = file.changed(known)
    assert back is not None
    assert (back.values, back.fault) == ({"name": "back"}, "")


def test_a_file_that_is_wrong_from_the_start_ends_the_script_with_its_fault(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="cannot be read"):
        wl.watch_hyperparameters(tmp_path / "none.yaml")
    (tmp_path / "list.yaml").write_text("[1]")
    with pytest.raises(InvalidArgument, match="holds no mapping"):
        wl.watch_hyperparameters(tmp_path / "list.yaml")


async def test_an_edited_file_changes_the_learning_rate_of_the_running_loop(
    peer: Peer, script: Callable[..., Script], tmp_path: Path
) -> None:
    path = tmp_path / "options.yaml"
    path.write_text(FIRST)
    options = wl.watch_hyperparameters(path)
    running = script().start()
    await peer.begun()
    path.write_text("training:\n  lr: 0.0125\n")
    await peer.status_when(
        lambda status: any(
            entry.name == "training.lr" and entry.applied_json == "0.0125" for entry in status.hyperparameters
        ),
        what="the new learning rate is applied",
    )
    assert options["training"]["lr"] == 0.0125
    assert running.optimizer.param_groups[0]["lr"] == 0.0125
    path.write_text("training:\n  lr: quick\n")
    told = await peer.status_when(lambda status: status.message, what="the fault is said")
    assert "options.yaml is not followed" in told.message
    assert running.optimizer.param_groups[0]["lr"] == 0.0125
    path.write_text("training:\n  lr: 0.025\n")
    await peer.status_when(lambda status: not status.message, what="the fault is gone")


@pytest.mark.parametrize("written", ["1e-3", "1E-3", "1.0e-3", "+1e-3", ".1e-2", "10e-4"])
def test_a_number_with_an_exponent_is_a_number(tmp_path: Path, written: str) -> None:
    path = tmp_path / "options.yaml"
    path.write_text(f"lr: {written}\nname: e3\nversion: 1e-3-beta\n")
    assert read(path) == {"lr": 0.001, "name": "e3", "version": "1e-3-beta"}
