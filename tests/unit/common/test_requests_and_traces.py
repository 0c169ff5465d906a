"""Ids of requests and traces on their way over the bus, and in the log."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider
from weightslab_common import logs, traces
from weightslab_common.bus import Bus
from weightslab_common.requests import current_request_id, request_id_of, working_for
from weightslab_proto.weightslab.v1 import PauseRequest, PauseResponse


async def test_the_peer_works_for_the_same_request(nats_url: str) -> None:
    seen: list[str] = []

    async def answer(request: PauseRequest) -> PauseResponse:
        seen.append(current_request_id())
        return PauseResponse(step=1)

    bus = await Bus.connect(nats_url, name="test")
    await bus.serve("wl.ids.command.pause", PauseRequest, answer)
    for request_id in ("the-request", ""):
        with working_for(request_id):
            await bus.request("wl.ids.command.pause", PauseRequest(), PauseResponse, timeout_secs=20, part="trainer")
    await bus.close()
    assert seen == ["the-request", ""]
    assert current_request_id() == ""


def test_every_line_of_the_log_names_the_request(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        logs.configure("test", level="INFO", format="json")
        with working_for("abc.1"):
            logging.getLogger("x").info("inside")
        logging.getLogger("x").info("outside")
    finally:
        root.handlers[:] = before[0]
        root.setLevel(before[1])
    inside, outside = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert inside["request_id"] == "abc.1"
    assert "request_id" not in outside


@given(st.text(max_size=80))
def test_an_id_in_a_log_is_harmless(given_id: str) -> None:
    request_id = request_id_of(given_id)
    assert request_id.isascii()
    assert request_id.isprintable()
    assert 1 <= len(request_id) <= 64
    assert not set(request_id) & set("\"'{}<>\\ \n")


def test_without_a_collector_nothing_of_telemetry_is_loaded() -> None:
    code = (
        "import sys; from weightslab_common import traces, bus\n"
        "traces.configure('x', url=None)\n"
        "with traces.span('a', kind='server', parent={'traceparent': 'x'}): assert traces.headers() == {}\n"
        "print([name for name in sys.modules if 'opentelemetry' in name])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (result.stdout.strip(), result.stderr) == ("[]", "")


def test_a_span_goes_on_with_the_trace_of_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    # On, and without anything that sends.
    monkeypatch.setattr(traces._Traces, "tracer", TracerProvider(shutdown_on_exit=False).get_tracer("test"))
    parent = {"traceparent": "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"}
    with traces.span("a", kind="server", parent=parent):
        told = traces.headers()["traceparent"].split("-")
    assert told[1] == "0123456789abcdef0123456789abcdef"
    assert told[2] != "0123456789abcdef"
    with traces.span("b", kind="server", parent={"traceparent": "nonsense"}):
        assert traces.headers()["traceparent"].split("-")[1] != told[1]
    assert traces.headers() == {}
