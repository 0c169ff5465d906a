"""Ports for servers that are started here."""

from __future__ import annotations

import random
import socket
from pathlib import Path

import pytest
from weightslab_common.embedded import CHOSEN_PORTS, free_port, free_ports, is_free
from weightslab_common.errors import FailedPrecondition


def test_ports_are_different_and_can_be_listened_on() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    for port in ports:
        with socket.create_server(("127.0.0.1", port)):
            assert not is_free(port)


def test_no_port_is_one_that_the_system_gives_to_outgoing_connections() -> None:
    given = Path("/proc/sys/net/ipv4/ip_local_port_range")
    first = int(given.read_text().split()[0]) if given.exists() else 32_768
    assert CHOSEN_PORTS[-1] < max(first, 32_768)
    assert free_port() in CHOSEN_PORTS


def test_processes_with_the_same_seed_choose_different_ports() -> None:
    random.seed(1)
    first = free_ports(5)
    random.seed(1)
    assert free_ports(5) != first


def test_more_ports_than_there_are_is_an_error() -> None:
    with pytest.raises(FailedPrecondition, match=f"no {len(CHOSEN_PORTS) + 1} free ports"):
        free_ports(len(CHOSEN_PORTS) + 1)
