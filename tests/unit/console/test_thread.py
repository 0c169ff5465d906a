"""The console inside a training process."""

from __future__ import annotations

import socket

import pytest
from weightslab.console.settings import ConsoleSettings
from weightslab.console.thread import start_console
from weightslab_common.embedded import free_port
from weightslab_common.errors import FailedPrecondition

from tests.support.processes import accepts


def _start(nats_url: str, port: int | None) -> int:
    return start_console(experiment="nobody", nats_url=nats_url, nats_token=None, port=port)


@pytest.mark.parametrize("port", [0, None])
def test_no_port_or_0_is_a_free_one(nats_url: str, port: int | None) -> None:
    assert accepts(_start(nats_url, port))


def test_a_second_run_takes_a_free_port_when_nobody_chose_one(nats_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    busy = free_port()
    # As if this were the default, which another run on this machine may have.
    monkeypatch.setattr(ConsoleSettings.model_fields["port"], "default", busy)
    monkeypatch.delenv("CLI_PORT", raising=False)
    ConsoleSettings.model_rebuild(force=True)
    try:
        with socket.create_server(("127.0.0.1", busy)):
            taken = _start(nats_url, busy)
            assert taken != busy
            assert accepts(taken)
            monkeypatch.setenv("CLI_PORT", str(busy))
            with pytest.raises(FailedPrecondition, match=f"port {busy} for the console"):
                _start(nats_url, busy)
    finally:
        monkeypatch.undo()
        ConsoleSettings.model_rebuild(force=True)
