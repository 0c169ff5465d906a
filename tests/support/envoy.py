"""A real Envoy with the configuration that `deploy/compose` ships, at addresses of this machine."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from weightslab_common.embedded import free_port

from tests.support.processes import Process, accepts, wait_until

SHIPPED = Path(__file__).resolve().parents[2] / "deploy" / "compose" / "envoy.yaml"


def configuration(*, port: int, grpc_port: int, web_port: int, origin: str) -> str:
    """The shipped configuration with the addresses put in; every one must be there to be replaced."""
    text = SHIPPED.read_text()
    for shipped, own in (
        ("address: 0.0.0.0, port_value: 8080", f"address: 127.0.0.1, port_value: {port}"),
        ("address: 127.0.0.1, port_value: 9902", "address: 127.0.0.1, port_value: 0"),
        ("address: gateway, port_value: 50051", f"address: 127.0.0.1, port_value: {grpc_port}"),
        ("address: gateway, port_value: 8080", f"address: 127.0.0.1, port_value: {web_port}"),
        ("http://127.0.0.1:5173", origin),
    ):
        assert text.count(shipped) == 1, f"{shipped!r} is in {SHIPPED.name} {text.count(shipped)} times"
        text = text.replace(shipped, own)
    return text


@contextmanager
def running_envoy(folder: Path, *, grpc_port: int, web_port: int, origin: str) -> Iterator[int]:
    """Yields the port of an Envoy in front of a gateway."""
    port = free_port()
    file = folder / "envoy.yaml"
    file.write_text(configuration(port=port, grpc_port=grpc_port, web_port=web_port, origin=origin))
    binary = Path(sys.executable).parent / "envoy"
    command = [str(binary), "-c", str(file), "--use-dynamic-base-id", "--concurrency", "1", "--log-level", "warning"]
    process = Process(command, log=folder / "envoy.log")
    process.start()
    try:
        wait_until(lambda: accepts(port) or not process.running, what="Envoy listens")
        assert process.running, process.output()
        yield port
    finally:
        process.stop()
