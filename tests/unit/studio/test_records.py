"""Lines of services become records, whatever the services write."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from weightslab.studio.records import LEVELS, Record, as_json, as_text, parse, printable


def test_our_json_keeps_level_time_and_fields() -> None:
    line = b'{"time":"2026-01-02T03:04:05.000+00:00","level":"WARNING","service":"x","message":"m","step":7}'
    record = parse("ledger", line)
    assert (record.service, record.level, record.message, record.fields) == ("ledger", "WARNING", "m", {"step": 7})
    assert record.time_unix_secs == 1767323045.0


def test_what_the_web_server_says_of_itself_is_detail() -> None:
    line = b'{"level":"INFO","message":"Started","logger":"uvicorn.error","color_message":"\\u001b[36mStarted"}'
    record = parse("ui", line)
    assert record.level == "DEBUG"
    assert "color_message" not in record.fields


@pytest.mark.parametrize(
    ("line", "level", "message"),
    [
        (b"[12] 2026/11/23 20:23:04.611153 [INF] Server is ready", "DEBUG", "Server is ready"),
        (b"[12] 2026/11/23 20:23:04.611153 [ERR] no disk", "ERROR", "no disk"),
        (b"[12] 2026/11/23 20:23:04.611153 [INF]", "DEBUG", ""),
        (b"12:M 23 Nov 2026 20:23:04.568 # No memory", "WARNING", "No memory"),
        (b"12:M 23 Nov 2026 20:23:04.568 # Valkey is now ready to exit", "DEBUG", "Valkey is now ready to exit"),
        (b"12:M 23 Nov 2026 20:23:04.568 * Ready", "DEBUG", "Ready"),
        (b"12:signal-handler (1795465385) Received SIGTERM", "DEBUG", "Received SIGTERM"),
        (b"Traceback (most recent call last):", "INFO", "Traceback (most recent call last):"),
        (b'{"level":"NONSENSE","message":"m"}', "INFO", '{"level":"NONSENSE","message":"m"}'),
        (b"{half", "INFO", "{half"),
    ],
)
def test_foreign_forms_are_read(line: bytes, level: str, message: str) -> None:
    record = parse("nats", line)
    assert (record.level, record.message) == (level, message)


@given(st.binary(max_size=300))
def test_any_bytes_make_a_record_that_can_be_written(line: bytes) -> None:
    record = parse("x", line)
    assert record.level in LEVELS
    assert orjson.loads(as_json(record))["service"] == "x"
    assert "\x1b" not in as_text(record, colours=False)


def test_text_names_service_level_and_fields_and_shows_a_traceback() -> None:
    record = Record("gateway", "ERROR", "broke", 0.0, {"logger": "a.b", "port": 8080, "exception": "one\ntwo"})
    text = as_text(record, colours=False)
    assert "gateway  ERROR   broke port=8080\n    one\n    two" in text
    assert "a.b" not in text


def test_colours_are_only_where_asked_for() -> None:
    record = Record("gateway", "ERROR", "broke", 0.0)
    assert "\033[31m" in as_text(record, colours=True)
    assert "\033" not in as_text(record, colours=False)


def test_control_characters_cannot_act_on_a_terminal() -> None:
    assert printable("a\x1b[2Jb\rc\td") == "a�[2Jb�c d"
