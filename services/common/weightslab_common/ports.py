"""Ports, taken before anything else so that a busy one is told at once."""

from __future__ import annotations

import errno
import socket

from weightslab_common.errors import FailedPrecondition

# Connections that wait to be accepted.
BACKLOG = 512
# After this much silence the system asks whether a client is still there, and gives it up like one whose
# acknowledgements do not come: a viewer whose network has gone says no goodbye.
KEEPALIVE_SECS = 30
KEEPALIVE_INTERVAL_SECS = 10
KEEPALIVE_PROBES = 3
# Longer than WL_SEND_TIMEOUT_SECS: a client that is there and does not read is told why it is dropped.
UNACKNOWLEDGED_MS = 60_000


class PortBusy(FailedPrecondition):
    """A port cannot be listened on. The message says which, why, and how to choose another."""


def take_port(*, host: str, port: int, setting: str, bind_setting: str = "WL_BIND") -> socket.socket:
    """Return a TCP socket that listens; who connects before there is a server waits in its queue.

    Binding alone would not do: two programs can bind one port and learn only when they listen who has it.
    `setting` and `bind_setting` are the names of the variables that choose the port and the address.

    Raises PortBusy.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's algorithm off only where the protocol is named; with it every reply takes 40 ms more.
    taken = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _notice_vanished(taken)
        taken.bind((host, port))
        taken.listen(BACKLOG)
    except OSError as error:
        taken.close()
        if error.errno == errno.EADDRINUSE:
            raise PortBusy(
                f"port {port} on {host} is in use by another program: stop that program, "
                f"or choose another port with {setting}=<port>"
            ) from error
        if error.errno == errno.EACCES:
            raise PortBusy(
                f"port {port} on {host} may not be used by this user: choose one above 1023 with {setting}=<port>"
            ) from error
        raise PortBusy(f"cannot listen on {host} port {port} ({setting}, {bind_setting}): {error.strerror}") from error
    taken.setblocking(False)
    return taken


def _notice_vanished(listening: socket.socket) -> None:
    """Let the system give up clients of this socket that do not answer any more; connections inherit it."""
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", KEEPALIVE_SECS),
        ("TCP_KEEPINTVL", KEEPALIVE_INTERVAL_SECS),
        ("TCP_KEEPCNT", KEEPALIVE_PROBES),
        ("TCP_USER_TIMEOUT", UNACKNOWLEDGED_MS),
    ):
        # Systems name them differently, or have no such thing.
        if hasattr(socket, name):
            listening.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
