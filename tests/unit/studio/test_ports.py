"""Ports are checked before anything is started."""

from __future__ import annotations

import socket

import pytest
from weightslab.studio.ports import check, same_or_free
from weightslab.studio.settings import PortUse, StudioSettings, port_uses
from weightslab_common.embedded import free_port, is_free
from weightslab_common.errors import FailedPrecondition
from weightslab_common.settings import load


def test_a_busy_port_is_named_with_its_use_and_how_to_choose_another() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(FailedPrecondition) as raised:
            check([PortUse(port, "the page", "VITE_PORT", "--page-port")])
    text = str(raised.value)
    assert f"port {port} for the page is busy" in text
    assert "--page-port or VITE_PORT" in text


def test_all_busy_ports_are_told_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        uses = [PortUse(server.getsockname()[1], "x", "X", "--x") for server in (one, two)]
        with pytest.raises(FailedPrecondition) as raised:
            check(uses)
    assert len(str(raised.value).splitlines()) == 2


def test_a_port_given_twice_is_refused() -> None:
    port = free_port()
    uses = [PortUse(port, "the page", "VITE_PORT", "--page-port"), PortUse(port, "gRPC", "G", "--grpc-port")]
    with pytest.raises(FailedPrecondition, match=f"port {port} is meant for the page and for gRPC"):
        check(uses)


def test_a_server_on_ipv6_loopback_alone_makes_a_port_busy() -> None:
    with socket.socket(socket.AF_INET6) as server:
        server.bind(("::1", 0))
        server.listen()
        assert not is_free(server.getsockname()[1])


def test_a_restarted_studio_takes_the_port_it_had() -> None:
    port = free_port()
    assert same_or_free(port, taken=set()) == port
    assert same_or_free(port, taken={port}) != port
    with socket.create_server(("127.0.0.1", 0)) as server:
        busy = server.getsockname()[1]
        assert same_or_free(busy, taken=set()) != busy


def test_ports_of_servers_that_are_not_ours_are_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WL_NATS_PORT", "4999")
    assert "WL_NATS_PORT" in {use.variable for use in port_uses(load(StudioSettings))}
    monkeypatch.setenv("WL_NATS_URL", "nats://elsewhere:4222")
    assert "WL_NATS_PORT" not in {use.variable for use in port_uses(load(StudioSettings))}
