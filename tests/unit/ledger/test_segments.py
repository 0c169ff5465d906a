"""Files of records, torn and damaged at every place."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from weightslab_ledger.segments import Damage, Segments, decode, encode

RECORDS = [({"n": number}, bytes([number]) * (number + 3)) for number in range(4)]
ENCODED = [encode(*record) for record in RECORDS]
WHOLE = b"".join(ENCODED)


def _numbers(content: bytes, damage: Damage) -> list[int]:
    return [record.header["n"] for record in decode(content, Path("x.log"), damage)]


@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 7))
def test_a_flipped_bit_costs_its_record_only_and_is_counted(at: int, bit: int) -> None:
    content = bytearray(WHOLE)
    content[at] ^= 1 << bit
    hit = next(n for n in range(4) if at < sum(map(len, ENCODED[: n + 1])))
    damage = Damage()
    assert _numbers(bytes(content), damage) == [n for n in range(4) if n != hit]
    # A length of the last record that grew looks like a write that was never finished.
    assert damage.records == 1 or hit == 3


@given(st.integers(0, len(WHOLE)))
def test_a_torn_end_costs_the_unfinished_record_only(length: int) -> None:
    damage = Damage()
    numbers = _numbers(WHOLE[:length], damage)
    assert numbers == [n for n in range(4) if sum(map(len, ENCODED[: n + 1])) <= length]
    assert damage.records == 0


def _values(folder: Path, token: int) -> list[int]:
    segments = Segments(folder, "x", token=token)
    return [record.header["n"] for record in segments.load()]


def test_records_come_back_in_order_over_several_files(tmp_path: Path) -> None:
    segments = Segments(tmp_path, "x", token=1, max_bytes=100)
    segments.open()
    for number in range(20):
        segments.append({"n": number}, b"." * 30)
    segments.close()
    assert len(segments.paths()) > 5
    assert _values(tmp_path, 2) == list(range(20))


def test_what_a_former_owner_writes_after_the_takeover_is_left_out(tmp_path: Path) -> None:
    former = Segments(tmp_path, "x", token=1)
    former.open()
    former.append({"n": 1}, b"")
    former.sync()
    present = Segments(tmp_path, "x", token=2)
    assert [record.header["n"] for record in present.load()] == [1]
    present.open()
    former.append({"n": 99}, b"")
    former.close()
    present.append({"n": 2}, b"")
    present.close()
    assert _values(tmp_path, 3) == [1, 2]


def test_the_oldest_files_go_first_and_never_the_one_in_use(tmp_path: Path) -> None:
    segments = Segments(tmp_path, "x", token=1, max_bytes=100)
    segments.open()
    for number in range(20):
        segments.append({"n": number}, b"." * 30)
    assert segments.drop_oldest(300)
    segments.close()
    left = _values(tmp_path, 2)
    assert left == list(range(left[0], 20))
    segments = Segments(tmp_path, "y", token=1)
    segments.open()
    assert segments.drop_oldest(0) == []
    segments.close()
