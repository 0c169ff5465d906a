"""A whole studio of real processes for tests: bus, store, ledger, gateway, page and the demo's training run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx
from grpclib.client import Channel
from weightslab_common.embedded import free_ports, nats_command, store_command
from weightslab_common.tokens import Role, Tokens
from weightslab_proto.weightslab.v1 import ExperimentServiceStub, SampleServiceStub, SignalServiceStub

from tests.support.grpcweb import BINARY, GrpcWebClient
from tests.support.processes import Process, accepts, wait_until

TOKEN = "editor-token-of-the-tests"
VIEWER_TOKEN = "viewer-token-of-the-tests"
EXPERIMENT = "digits"
SERVICES = ("nats", "store", "ledger", "gateway", "ui", "trainer")


class Api:
    """The three services of the public API over gRPC."""

    def __init__(self, channel: Channel, token: str) -> None:
        metadata = {"authorization": f"Bearer {token}"}
        self._channel = channel
        self.experiments = ExperimentServiceStub(channel, metadata=metadata)
        self.samples = SampleServiceStub(channel, metadata=metadata)
        self.signals = SignalServiceStub(channel, metadata=metadata)

    async def __aenter__(self) -> Api:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._channel.close()


class Studio:
    """Start it with `start`; each process can be killed and started again by its name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.nats_port, self.store_port, self.console_port, *rest = free_ports(7)
        self.grpc_port, self.web_port, self.admin_port, self.page_port = rest
        python = sys.executable
        # What a script or command needs to find this studio.
        self.environment = {
            "WL_NATS_URL": f"nats://127.0.0.1:{self.nats_port}",
            "WL_REDIS_URL": f"redis://127.0.0.1:{self.store_port}",
            "WL_DATA_DIR": str(folder / "data"),
            "WL_TOKEN": TOKEN,
            "WL_VIEWER_TOKEN": VIEWER_TOKEN,
            "GRPC_BACKEND_PORT": str(self.grpc_port),
            "ENVOY_PORT": str(self.web_port),
            "ENVOY_ADMIN_PORT": str(self.admin_port),
            "VITE_PORT": str(self.page_port),
            "WS_SERVER_PORT": str(self.web_port),
            "CLI_PORT": str(self.console_port),
            "WL_EXPERIMENT": EXPERIMENT,
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": "1",
            # A warning in a service is a fault here as in the tests themselves.
            "PATH": os.environ["PATH"],
        }
        commands = {
            "nats": nats_command(folder / "nats", port=self.nats_port),
            "store": store_command(folder / "store", port=self.store_port),
            "ledger": [python, "-m", "weightslab_ledger"],
            "gateway": [python, "-m", "weightslab_gateway"],
            "ui": [python, "-m", "weightslab_ui"],
            "trainer": [python, "-m", "weightslab.demo.digits"],
        }
        self.processes = {
            name: Process(command, log=folder / f"{name}.log", environment=self.environment)
            for name, command in commands.items()
        }

    @property
    def page_url(self) -> str:
        return f"http://localhost:{self.page_port}"

    @property
    def web_url(self) -> str:
        return f"http://localhost:{self.web_port}"

    @property
    def login_url(self) -> str:
        """The address of the page with a one-time login."""
        return f"{self.page_url}/#login={Tokens(editor_token=TOKEN).login(Role.EDITOR)}"

    def api(self, token: str = TOKEN) -> Api:
        """A gRPC client; must be called within a running event loop."""
        return Api(Channel("127.0.0.1", self.grpc_port), token)

    def web(self, *, token: str = TOKEN, content_type: str = BINARY) -> GrpcWebClient:
        return GrpcWebClient(f"http://127.0.0.1:{self.web_port}", token=token, content_type=content_type)

    def start(self) -> None:
        for name in SERVICES:
            self.start_one(name)

    def start_one(self, name: str) -> None:
        """Start a process and wait until it answers."""
        process = self.processes[name]
        process.start()
        ports = {
            "nats": self.nats_port,
            "store": self.store_port,
            "gateway": self.web_port,
            "ui": self.page_port,
            "trainer": self.console_port,
        }
        if name in ports:
            port = ports[name]
            wait_until(lambda: accepts(port) or not process.running, what=f"{name} listens on {port}", timeout_secs=60)
        assert process.running, f"{name} ended:\n{process.output()}"

    def ready(self) -> bool:
        """Whether the gateway says that every part answers."""
        try:
            return httpx.get(f"http://127.0.0.1:{self.admin_port}/readyz", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def stop(self) -> None:
        """SIGTERM to every process, the last first. Raises AssertionError when one did not end in order and in time."""
        faults = []
        for name in reversed(SERVICES):
            process = self.processes[name]
            was_running = process.running
            try:
                status = process.stop()
            except subprocess.TimeoutExpired:
                faults.append(f"{name} did not end and was killed")
                continue
            # Services end with 0 when they were told to, and with 1 when they had to give up on their own end.
            if was_running and status and name in ("ledger", "gateway", "ui"):
                faults.append(f"{name} ended with {status}")
        assert not faults, f"after SIGTERM {', '.join(faults)}:\n{self.logs()}"

    def logs(self) -> str:
        return "\n".join(f"=== {name}\n{process.output()[-4000:]}" for name, process in self.processes.items())
