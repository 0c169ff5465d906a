"""What a studio consists of: the commands, environments and signs of readiness of its services."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from weightslab_common.embedded import nats_command, store_command
from weightslab_common.tokens import load_or_create_token

from weightslab.studio import runfile
from weightslab.studio.ports import same_or_free
from weightslab.studio.probes import HttpProbe, LedgerProbe, Probe, TcpProbe
from weightslab.studio.runfile import StudioEntry
from weightslab.studio.settings import StudioSettings, port_uses

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One process of the studio."""

    name: str
    # What it is, for people.
    purpose: str
    command: list[str]
    # None: ready as soon as it runs.
    probe: Probe | None
    # Stopped stage by stage, the highest first: who speaks before who is spoken to.
    stage: int = 1
    # Ends by itself with status 0 when its work is done, and is not started again then.
    finite: bool = False
    # Over the environment of the plan.
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that is started, all at once, and stopped stage by stage."""

    services: list[Service]
    # Of every service; secrets included.
    environment: Mapping[str, str] = field(repr=False)
    nats_url: str
    nats_token: str | None = field(repr=False)
    redis_url: str = field(repr=False)
    token: str = field(repr=False)
    page_url: str
    data_dir: Path
    # Whether the studio ends with the last training process that is attached to it.
    ends_with_runs: bool = False


def token_file(settings: StudioSettings) -> Path:
    """Where the editor token is kept when WL_TOKEN gives none."""
    return (settings.token_file or settings.data_dir / "token").resolve()


def editor_token(settings: StudioSettings) -> str:
    return settings.token or load_or_create_token(token_file(settings))


def nats_token(settings: StudioSettings) -> str | None:
    """The token of the bus: the given one, or for the embedded server one of our own."""
    if settings.nats_url or settings.nats_token:
        return settings.nats_token
    return load_or_create_token(runfile.nats_token_file(settings.data_dir))


def make(settings: StudioSettings, *, previous: StudioEntry | None, trainer: list[str] | None = None) -> Plan:
    """Plan a studio for `settings`. Writes the two servers' configurations and tokens into the data folder.

    `trainer` is the command of a training run to start with it.
    """
    data_dir = settings.data_dir.resolve()
    taken = {use.port for use in port_uses(settings, console=True)}
    services: list[Service] = []
    nats_url, token = settings.nats_url, nats_token(settings)
    if nats_url is None:
        port = settings.nats_port or same_or_free(_port(previous.nats_url if previous else None), taken=taken)
        taken.add(port)
        nats_url = f"nats://{LOOPBACK}:{port}"
        services.append(_server("nats", "message bus", nats_command(data_dir / "nats", port=port, token=token), port))
    redis_url = settings.redis_url
    if redis_url is None:
        port = settings.redis_port or same_or_free(_port(previous.redis_url if previous else None), taken=taken)
        password = load_or_create_token(data_dir / "run" / "store.password")
        redis_url = f"redis://:{password}@{LOOPBACK}:{port}"
        command = store_command(data_dir / "store", port=port, password=password)
        services.append(_server("store", "store of tags and edits", command, port))
    services += _own_services(settings, ledger=LedgerProbe(nats_url, token))
    if trainer:
        services.append(
            Service(name="trainer", purpose="training run", command=trainer, probe=None, stage=2, finite=True)
        )
    editor = editor_token(settings)
    environment = {
        "WL_NATS_URL": nats_url,
        "WL_REDIS_URL": redis_url,
        "WL_DATA_DIR": str(data_dir),
        # By its file when it was not given, so that the gateway can tell whether somebody chose it.
        **({"WL_TOKEN": settings.token} if settings.token else {"WL_TOKEN_FILE": str(token_file(settings))}),
        "GRPC_BACKEND_PORT": str(settings.grpc_port),
        "ENVOY_PORT": str(settings.web_port),
        "ENVOY_ADMIN_PORT": str(settings.admin_port),
        "VITE_PORT": str(settings.page_port),
        "CLI_PORT": str(settings.console_port),
        "WS_SERVER_PORT": str(settings.server_port or settings.web_port),
        "WL_LOG_LEVEL": settings.log_level,
        # Read by us and written again in the form that was asked for.
        "WL_LOG_FORMAT": "json",
        "PYTHONUNBUFFERED": "1",
    }
    if token:
        environment["WL_NATS_TOKEN"] = token
    return Plan(
        services=services,
        environment=environment,
        nats_url=nats_url,
        nats_token=token,
        redis_url=redis_url,
        token=editor,
        page_url=f"http://localhost:{settings.page_port}",
        data_dir=data_dir,
    )


def _server(name: str, purpose: str, command: list[str], port: int) -> Service:
    return Service(name=name, purpose=purpose, command=command, probe=TcpProbe(LOOPBACK, port), stage=0)


def _own_services(settings: StudioSettings, *, ledger: Probe) -> list[Service]:
    python = sys.executable
    return [
        Service(name="ledger", purpose="ledger", command=[python, "-m", "weightslab_ledger"], probe=ledger),
        Service(
            name="gateway",
            purpose="gateway",
            command=[python, "-m", "weightslab_gateway"],
            probe=HttpProbe(reachable(settings.gateway_bind), settings.admin_port, "/readyz"),
        ),
        Service(
            name="ui",
            purpose="page",
            command=[python, "-m", "weightslab_ui"],
            probe=HttpProbe(reachable(settings.page_bind), settings.page_port, "/healthz"),
        ),
    ]


def reachable(bind: str) -> str:
    """The address at which this machine reaches a server that listens on `bind`."""
    return LOOPBACK if bind in ("0.0.0.0", "::", "", "localhost") else bind  # noqa: S104 - compared, not bound


def _port(url: str | None) -> int | None:
    return urlsplit(url).port if url else None
