"""Messages wait in memory, then on disk, then are refused; in order, and across a kill."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest
from weightslab.outbox import Outbox, Outgoing


def _message(number: int, size: int = 100) -> Outgoing:
    return Outgoing("wl.x.signals", f"run-signals-{number}", bytes([number % 256]) * size)


def _drained(outbox: Outbox) -> list[str]:
    found = []
    while (message := outbox.head()) is not None:
        found.append(message.message_id)
        assert message.payload == bytes([int(message.message_id.rpartition("-")[2]) % 256]) * len(message.payload)
        outbox.pop()
    return found


def _ids(numbers: range) -> list[str]:
    return [f"run-signals-{number}" for number in numbers]


def test_order_is_kept_through_memory_and_disk(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, name="run", memory_bytes=350)
    for number in range(20):
        assert outbox.put(_message(number))
    assert len(outbox) == 20
    assert _drained(outbox) == _ids(range(20))
    assert list(tmp_path.iterdir()) == []


def test_what_comes_while_the_file_is_being_read_comes_last(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, name="run", memory_bytes=250)
    for number in range(8):
        outbox.put(_message(number))
    for _ in range(3):
        outbox.head()
        outbox.pop()
    for number in range(8, 12):
        outbox.put(_message(number))
    assert len(outbox) == 9
    assert _drained(outbox) == _ids(range(3, 12))


def test_beyond_the_disk_limit_messages_are_refused_and_curves_have_a_share_of_their_own(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, name="run", memory_bytes=0, disk_bytes=1000)
    values = [outbox.put(_message(number), spare_share=0.5) for number in range(10)]
    curves = [outbox.put(_message(number)) for number in range(10)]
    assert True in values
    assert values[-1] is False
    assert curves[0] is True
    assert curves[-1] is False
    assert len(outbox) == values.count(True) + curves.count(True)
    outbox.close()


def test_what_waits_at_the_end_is_sent_by_the_next_process(tmp_path: Path) -> None:
    first = Outbox(tmp_path, name="first", memory_bytes=250)
    for number in range(6):
        first.put(_message(number))
    first.close()
    second = Outbox(tmp_path, name="second")
    second.put(_message(7))
    assert sorted(_drained(second)) == sorted([*_ids(range(6)), "run-signals-7"])
    assert list(tmp_path.iterdir()) == []


def test_while_the_bus_is_away_everything_that_waits_is_on_disk_and_is_sent_once(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, name="run")
    for number in range(4):
        outbox.put(_message(number))
    first = outbox.head()
    assert first is not None
    outbox.keep()
    for number in range(4, 7):
        outbox.put(_message(number), to_disk=True)
    # Again, with nothing new.
    outbox.keep()
    assert len(outbox) == 7
    killed = tmp_path / "killed"
    killed.mkdir()
    (killed / "run.spool").write_bytes((tmp_path / "run.spool").read_bytes())
    assert _drained(Outbox(killed, name="next")) == _ids(range(7))
    assert list(killed.iterdir()) == []
    assert _drained(outbox) == _ids(range(7))
    assert not (tmp_path / "run.spool").exists()


def test_what_a_killed_process_left_stays_on_disk_until_it_is_sent_and_is_not_read_at_once(tmp_path: Path) -> None:
    first = Outbox(tmp_path, name="first", memory_bytes=0)
    for number in range(20):
        first.put(_message(number))
    first.close()
    second = Outbox(tmp_path, name="second", memory_bytes=800)
    for _ in range(5):
        second.head()
        second.pop()
    assert 0 < len(second) < 15
    assert (tmp_path / "first.spool").exists()
    assert _drained(second) == _ids(range(5, 20))
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_cannot_be_written_leaves_the_memory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    outbox = Outbox(tmp_path / "file" / "spool", name="run")
    assert outbox.put(_message(0), to_disk=True)
    outbox.keep()
    assert _drained(outbox) == _ids(range(1))


@pytest.mark.parametrize("cut", [1, 50, 120])
def test_a_torn_last_message_costs_only_itself(tmp_path: Path, cut: int) -> None:
    first = Outbox(tmp_path, name="first", memory_bytes=0)
    for number in range(3):
        first.put(_message(number))
    first.close()
    path = tmp_path / "first.spool"
    path.write_bytes(path.read_bytes()[:-cut])
    assert _drained(Outbox(tmp_path, name="second")) == _ids(range(2))


def test_messages_of_a_living_process_are_left_to_it(tmp_path: Path) -> None:
    living = Outbox(tmp_path, name="living", memory_bytes=0)
    living.put(_message(1))
    assert _drained(Outbox(tmp_path, name="other")) == []
    with (tmp_path / "living.spool").open() as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert _drained(living) == _ids(range(1, 2))
