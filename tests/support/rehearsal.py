"""A deployment on loopback: the commands, environment, ports and configurations of the compose file, as processes.

Every replica has an address of its own in 127.0.0.0/8, as a container has, so that all keep their ports. What differs
from the files is only this: names of services are addresses, and folders of volumes are folders of the test.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import yaml
from grpclib.client import Channel
from weightslab_common.embedded import nats_command, store_command

from tests.support.deployment import COMPOSE, DEPLOY, compose, stages
from tests.support.grpcweb import GrpcWebClient
from tests.support.processes import Process, wait_until
from tests.support.studio import Api

BIN = Path(sys.executable).parent
SECRETS = "/run/weightslab/secrets"
NATS_STORE = "/var/lib/weightslab/nats"
REDIS_STORE = "/var/lib/weightslab/redis"
# How long a part may take to come up on a busy machine.
PATIENCE_SECS = 60.0


class Deployment:
    """Make it with how many replicas there are; `start` starts all, `restart` replaces one as a rollout does."""

    def __init__(
        self, folder: Path, *, gateways: int, ledgers: int, nats: int = 1, store_replica: bool = False
    ) -> None:
        self.folder = folder
        self.secrets = folder / "secrets"
        # Chosen at random, so that several can be rehearsed on one machine at once.
        chosen = secrets.SystemRandom()
        self._net = f"127.{chosen.randint(16, 250)}.{chosen.randint(1, 250)}"
        self._services = compose()["services"]
        self.gateways = [f"gateway-{number}" for number in range(gateways)]
        self.ledgers = [f"ledger-{number}" for number in range(ledgers)]
        self.buses = [f"nats-{number}" for number in range(nats)]
        stores = ["redis", "redis-replica"] if store_replica else ["redis"]
        self._names = [*self.buses, *stores, *self.ledgers, *self.gateways, "ui", "envoy", "trainer"]
        self._make_secrets()
        self.processes: dict[str, Process] = {}
        for name in self._names:
            self._prepare(name)

    def address(self, name: str) -> str:
        """The address of a replica."""
        return f"{self._net}.{self._names.index(name) + 10}"

    @property
    def nats_url(self) -> str:
        return ",".join(f"nats://{self.address(name)}:4222" for name in self.buses)

    def secret(self, name: str) -> str:
        return (self.secrets / name).read_text().strip()

    # What is run.

    def _make_secrets(self) -> None:
        """As the service `setup` does."""
        environment = {"PATH": os.environ["PATH"], "WL_REDIS_ADDRESS": f"{self.address('redis')}:6379"}
        command = [part.replace(SECRETS, str(self.secrets)) for part in _command("setup")]
        subprocess.run(command, env=environment, check=True, capture_output=True)

    def _prepare(self, name: str) -> None:
        kind = re.sub(r"-(\d+|replica)$", "", name)
        folder = self.folder / name
        folder.mkdir()
        environment = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", "POD_NAME": name}
        if kind in ("nats", "redis"):
            command = self._server(kind, name, folder)
        elif kind == "envoy":
            command = self._envoy(folder)
        else:
            command = _command(kind)
            environment |= self._environment(kind, name)
        self.processes[name] = Process(command, log=self.folder / f"{name}.log", environment=environment)

    def _environment(self, kind: str, name: str) -> dict[str, str]:
        told = {key: str(value) for key, value in self._services[kind]["environment"].items()}
        for key in told:
            if key.endswith("BIND"):
                told[key] = self.address(name)
            elif key == "WL_SECRETS_DIR":
                told[key] = str(self.secrets)
            elif key == "WL_NATS_URL":
                told[key] = self.nats_url
            elif key == "WL_DATA_DIR":
                # All ledgers share the volume.
                told[key] = str(self.folder / f"{kind}-data")
        if kind == "ledger" and len(self.buses) > 1:
            told["WL_STREAM_REPLICAS"] = str(len(self.buses))
        return told

    def _server(self, kind: str, name: str, folder: Path) -> list[str]:
        """The shell command of the compose file, with our folders in it."""
        told = (COMPOSE / f"{kind}.conf").read_text()
        if kind == "nats" and len(self.buses) > 1:
            told = (DEPLOY / "k8s" / "base" / "nats.conf").read_text()
            for bus in self.buses:
                told = told.replace(f"//{bus}.nats:", f"//{self.address(bus)}:")
        told = told.replace("0.0.0.0", self.address(name)).replace("127.0.0.1:8222", f"{self.address(name)}:8222")
        for volume in (NATS_STORE, REDIS_STORE):
            told = told.replace(volume, str(folder))
        if name == "redis-replica":
            told += f"replicaof {self.address('redis')} 6379\nmasterauth {self.secret('WL_REDIS_PASSWORD')}\n"
        configuration = folder / f"{kind}.conf"
        configuration.write_text(told)
        (script,) = self._services[kind]["command"]
        script = script.replace("$$", "$").replace(SECRETS, str(self.secrets))
        script = script.replace(f"/etc/weightslab/{kind}.conf", str(configuration))
        script = script.replace("/tmp/redis.conf", str(folder / "with-password.conf"))
        script = script.replace("nats-server", nats_command(folder / "unused", port=1)[0])
        script = script.replace("valkey-server", store_command(folder / "unused", port=1)[0])
        return ["sh", "-c", script]

    def _envoy(self, folder: Path) -> list[str]:
        told: dict[str, Any] = yaml.safe_load((COMPOSE / "envoy.yaml").read_text())
        told["admin"]["address"]["socket_address"] = {"address": self.address("envoy"), "port_value": 9902}
        listener = told["static_resources"]["listeners"][0]
        listener["address"]["socket_address"]["address"] = self.address("envoy")
        for cluster in told["static_resources"]["clusters"]:
            (endpoints,) = cluster["load_assignment"]["endpoints"]
            (one,) = endpoints["lb_endpoints"]
            port = one["endpoint"]["address"]["socket_address"]["port_value"]
            # The name of the compose file stands for every replica.
            endpoints["lb_endpoints"] = [
                {"endpoint": {"address": {"socket_address": {"address": self.address(name), "port_value": port}}}}
                for name in self.gateways
            ]
        file = folder / "envoy.yaml"
        file.write_text(yaml.safe_dump(told))
        options = ["--use-dynamic-base-id", "--concurrency", "1", "--log-level", "warning"]
        return [str(BIN / "envoy"), "-c", str(file), *options]

    # Running it.

    def start(self) -> None:
        for name in self._names:
            self.processes[name].start()
        for name in self._names:
            self.wait(name)

    def wait(self, name: str) -> None:
        """Return once a replica is ready, as its health check in the compose file would find it."""
        process = self.processes[name]
        wait_until(lambda: self.ready(name) or not process.running, what=f"{name} is ready", timeout_secs=PATIENCE_SECS)
        assert process.running, f"{name} ended:\n{process.output()[-3000:]}"

    def ready(self, name: str) -> bool:
        kind = re.sub(r"-(\d+|replica)$", "", name)
        paths = {"nats": "8222/healthz", "ledger": "9902/readyz", "gateway": "9901/readyz", "ui": "5173/healthz"}
        paths["envoy"] = "9902/ready"
        if kind == "redis":
            return "Ready to accept connections" in self.processes[name].output()
        if kind == "trainer":
            # It is heard of on the bus; see `rehearsal_load.trained`.
            return True
        try:
            return httpx.get(f"http://{self.address(name)}:{paths[kind]}", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    async def restart(self, name: str) -> None:
        """Replace a replica as a rollout does: SIGTERM, wait for its end, start, wait until it is ready."""
        await asyncio.to_thread(self.end, name)
        self.processes[name].start()
        await asyncio.to_thread(self.wait, name)

    def start_with(self, name: str, **environment: str) -> None:
        """Start a replica that was stopped, with more said to it than the compose file does."""
        kind = re.sub(r"-(\d+|replica)$", "", name)
        told = {"PATH": os.environ["PATH"], **self._environment(kind, name), **environment}
        self.processes[name] = Process(_command(kind), log=self.folder / f"{name}.log", environment=told)
        self.processes[name].start()

    def end(self, name: str) -> None:
        """Stop a replica in order."""
        process = self.processes[name]
        status = process.stop(timeout_secs=PATIENCE_SECS)
        assert status == 0, f"{name} ended with status {status}:\n{process.output()[-3000:]}"

    def stop(self) -> None:
        for name in reversed(self._names):
            self.processes[name].kill()

    def logs(self) -> str:
        return "\n".join(f"=== {name}\n{process.output()[-3000:]}" for name, process in self.processes.items())

    # Clients.

    def api(self, gateway: str) -> Api:
        """gRPC straight to one gateway; must be called within a running event loop."""
        return Api(Channel(self.address(gateway), 50051), self.secret("WL_TOKEN"))

    def web(self) -> GrpcWebClient:
        """gRPC-Web through the proxy, as a browser of the compose stack calls it."""
        url = f"http://{self.address('envoy')}:8080"
        return GrpcWebClient(url, token=self.secret("WL_TOKEN"), host="localhost:8080")


def _command(target: str) -> list[str]:
    """What an image runs, with the interpreter of this environment."""
    python, *arguments = json.loads(stages()[target].lines[-1].removeprefix("CMD "))
    assert python == "python"
    return [sys.executable, *arguments]
