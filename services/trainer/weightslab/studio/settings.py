"""Settings of the studio: which ports its services take, and which servers are not ours."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import Field
from weightslab_common.settings import BusAccess, DataSettings


class StudioSettings(BusAccess, DataSettings):
    """What `weightslab up` and `python -m weightslab.studio` read."""

    nats_url: str | None = Field(
        None, validation_alias="WL_NATS_URL", description="A NATS server of yours; unset starts the embedded one."
    )
    nats_port: int | None = Field(
        None,
        validation_alias="WL_NATS_PORT",
        ge=1,
        le=65535,
        description="Port of the embedded NATS server; unset takes a free one.",
    )
    redis_url: str | None = Field(
        None,
        validation_alias="WL_REDIS_URL",
        repr=False,
        description="A Redis-protocol server of yours; unset starts the embedded one.",
    )
    redis_port: int | None = Field(
        None,
        validation_alias="WL_REDIS_PORT",
        ge=1,
        le=65535,
        description="Port of the embedded Redis-protocol server; unset takes a free one.",
    )
    grpc_port: int = Field(
        50051, validation_alias="GRPC_BACKEND_PORT", ge=1, le=65535, description="Port of the gateway's gRPC."
    )
    web_port: int = Field(
        8080, validation_alias="ENVOY_PORT", ge=1, le=65535, description="Port of the gateway's gRPC-Web and images."
    )
    admin_port: int = Field(
        9901,
        validation_alias="ENVOY_ADMIN_PORT",
        ge=1,
        le=65535,
        description="Port of the gateway's health and metrics.",
    )
    page_port: int = Field(5173, validation_alias="VITE_PORT", ge=1, le=65535, description="Port of the page.")
    server_port: int | None = Field(
        None,
        validation_alias="WS_SERVER_PORT",
        ge=1,
        le=65535,
        description="Port at which the page looks for gRPC-Web; unset means the gateway's.",
    )
    console_port: int = Field(
        60000, validation_alias="CLI_PORT", ge=0, le=65535, description="Port of the console; 0 takes a free one."
    )
    token: str | None = Field(
        None,
        validation_alias="WL_TOKEN",
        repr=False,
        description="The editor token; unset makes one and keeps it in WL_TOKEN_FILE.",
    )
    token_file: Path | None = Field(
        None,
        validation_alias="WL_TOKEN_FILE",
        description="File that keeps the editor token, made at the first start; unset: `token` in the data folder.",
    )
    gateway_bind: str = Field(
        "127.0.0.1", validation_alias="WL_BIND", description="Address that the gateway listens on."
    )
    page_bind: str = Field(
        "127.0.0.1", validation_alias="WL_UI_BIND", description="Address that the page's host listens on."
    )


@dataclass(frozen=True, slots=True)
class PortUse:
    """A port, what takes it and how to choose another."""

    port: int
    purpose: str
    variable: str
    flag: str


def port_uses(settings: StudioSettings, *, console: bool = False) -> list[PortUse]:
    """Every port that was chosen by number; ports that are found free at start are not among them.

    `console`: a training run with a console is started, too.
    """
    uses = [
        PortUse(settings.page_port, "the page", "VITE_PORT", "--page-port"),
        PortUse(settings.web_port, "gRPC-Web and images", "ENVOY_PORT", "--web-port"),
        PortUse(settings.admin_port, "health and metrics", "ENVOY_ADMIN_PORT", "--admin-port"),
        PortUse(settings.grpc_port, "gRPC", "GRPC_BACKEND_PORT", "--grpc-port"),
    ]
    if settings.nats_port and not settings.nats_url:
        uses.append(PortUse(settings.nats_port, "the message bus", "WL_NATS_PORT", "--nats-port"))
    if settings.redis_port and not settings.redis_url:
        uses.append(PortUse(settings.redis_port, "the store", "WL_REDIS_PORT", "--redis-port"))
    if console and settings.console_port:
        uses.append(PortUse(settings.console_port, "the console", "CLI_PORT", "--console-port"))
    return uses
