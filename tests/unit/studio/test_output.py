"""The merged stream of logs never makes a service wait."""

from __future__ import annotations

import contextlib
import io
import os
import threading
from pathlib import Path

import orjson
from weightslab.studio.output import QUEUE_MAX_RECORDS, Output
from weightslab.studio.records import LINE_MAX_BYTES, Record

from tests.support.processes import wait_until


def _pipe(output: Output, written: bytes) -> list[Record]:
    kept: list[Record] = []
    receiving, sending = os.pipe()
    output.follow("svc", receiving, keep=kept.append)
    for start in range(0, len(written), 4096):
        os.write(sending, written[start : start + 4096])
    os.close(sending)
    return kept


def test_lines_of_a_pipe_arrive_in_order_as_json_when_it_is_no_terminal() -> None:
    stream = io.StringIO()
    output = Output(level="INFO", format="auto", stream=stream, file=None)
    kept = _pipe(output, b"one\n\ntwo\nthree without an end")
    wait_until(lambda: len(kept) == 3, what="three lines")
    output.close(60)
    assert [orjson.loads(line)["message"] for line in stream.getvalue().splitlines()] == [
        "one",
        "two",
        "three without an end",
    ]


def test_an_endless_line_is_cut() -> None:
    output = Output(level="ERROR", format="json", stream=None, file=None)
    kept = _pipe(output, b"x" * (5 * LINE_MAX_BYTES))
    wait_until(lambda: sum(len(record.message) for record in kept) >= 4 * LINE_MAX_BYTES, what="pieces")
    output.close(60)
    assert max(len(record.message) for record in kept) <= LINE_MAX_BYTES


class _Stuck(io.StringIO):
    """A terminal that was stopped."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()

    def write(self, text: str) -> int:
        self.go_on.wait(30)
        return super().write(text)


def test_a_stopped_terminal_drops_and_counts_and_says_so_later() -> None:
    stream = _Stuck()
    output = Output(level="INFO", format="json", stream=stream, file=None)
    for number in range(QUEUE_MAX_RECORDS + 100):
        output.say("INFO", str(number))
    assert 90 <= output.dropped_records <= 100
    stream.go_on.set()
    wait_until(lambda: "log lines were dropped" in stream.getvalue(), what="the loss is told")
    output.close(60)


def test_a_reader_that_has_gone_does_not_end_the_file(tmp_path: Path) -> None:
    receiving, sending = os.pipe()
    os.close(receiving)
    stream = os.fdopen(sending, "w", buffering=1)
    output = Output(level="INFO", format="json", stream=stream, file=tmp_path / "run" / "studio.log")
    output.say("INFO", "first")
    output.say("INFO", "second")
    output.close(60)
    with contextlib.suppress(BrokenPipeError):
        stream.close()
    lines = (tmp_path / "run" / "studio.log").read_text().splitlines()
    assert [orjson.loads(line)["message"] for line in lines] == ["first", "second"]


def test_records_below_the_level_are_left_out() -> None:
    stream = io.StringIO()
    output = Output(level="WARNING", format="json", stream=stream, file=None)
    output.say("INFO", "quiet")
    output.say("ERROR", "loud")
    output.close(60)
    assert [orjson.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["loud"]
