"""What the gateway can be told: flag > environment > `.env` > default."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import NoDecode
from weightslab_common.settings import BusSettings, DataSettings, StopSettings

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
Port = Annotated[int, Field(ge=0, le=65535)]
Names = Annotated[tuple[str, ...], NoDecode]


class GatewaySettings(BusSettings, DataSettings, StopSettings):
    """Settings of `python -m weightslab_gateway`."""

    grpc_port: Port = Field(50051, validation_alias="GRPC_BACKEND_PORT", description="Port of gRPC.")
    web_port: Port = Field(
        8080, validation_alias="ENVOY_PORT", description="Port of gRPC-Web, images and authentication."
    )
    admin_port: Port = Field(
        9901, validation_alias="ENVOY_ADMIN_PORT", description="Port of `/healthz`, `/readyz` and `/metrics`."
    )
    page_port: Port = Field(5173, validation_alias="VITE_PORT", description="Port of the page, for allowed origins.")
    bind: str = Field("127.0.0.1", validation_alias="WL_BIND", description="Address to listen on.")
    token: str | None = Field(None, validation_alias="WL_TOKEN", repr=False, description="Token of the role editor.")
    token_file: Path | None = Field(
        None,
        validation_alias="WL_TOKEN_FILE",
        description="File that keeps the editor token; made at the first start. Default: `<data dir>/token`.",
    )
    viewer_token: str | None = Field(
        None, validation_alias="WL_VIEWER_TOKEN", repr=False, description="Token of the role viewer."
    )
    allowed_origins: Names = Field(
        (),
        validation_alias="WL_ALLOWED_ORIGINS",
        description="Origins of pages that may call, separated by commas. Default: the page on localhost.",
    )
    allowed_hosts: Names = Field(
        ("localhost", "127.0.0.1", "[::1]"),
        validation_alias="WL_ALLOWED_HOSTS",
        description="Names, without port, by which the gateway may be called over HTTP, separated by commas.",
    )
    insecure: bool = Field(
        False,
        validation_alias="WL_INSECURE",
        description="Listen beyond loopback though WL_TOKEN is not set; the token of the file still counts.",
    )
    tls_cert: Path | None = Field(
        None,
        validation_alias="WL_TLS_CERT",
        description="Certificate chain (PEM) of the gateway: gRPC and HTTP then speak TLS only.",
    )
    tls_key: Path | None = Field(None, validation_alias="WL_TLS_KEY", description="Private key (PEM) of WL_TLS_CERT.")
    tls_client_ca: Path | None = Field(
        None,
        validation_alias="WL_TLS_CLIENT_CA",
        description="Authority (PEM) whose certificates clients must show. Default: none is asked for.",
    )
    max_message_bytes: int = Field(
        4 * 1024**2, ge=1024, validation_alias="WL_MAX_MESSAGE_BYTES", description="Largest request message."
    )
    max_calls_per_sec: float = Field(
        1000.0,
        ge=1,
        validation_alias="WL_MAX_CALLS_PER_SEC",
        description="Calls and images that one token may ask for in a second; twice as many at once after a pause.",
    )
    max_connections: int = Field(
        4000, ge=1, validation_alias="WL_MAX_CONNECTIONS", description="Connections that may be open at once."
    )
    single_port: bool = Field(
        False,
        validation_alias="WL_SINGLE_PORT",
        description="Serve gRPC at ENVOY_PORT, too, and leave GRPC_BACKEND_PORT alone.",
    )
    max_calls: int = Field(2000, ge=1, validation_alias="WL_MAX_CALLS", description="Calls that may run at once.")
    media_cache_bytes: int = Field(
        128 * 1024**2, ge=0, validation_alias="WL_MEDIA_CACHE_BYTES", description="Images kept in memory."
    )
    send_timeout_secs: float = Field(
        30.0,
        gt=0,
        validation_alias="WL_SEND_TIMEOUT_SECS",
        description="A client that does not take a message for so long is dropped.",
    )

    max_watch_secs: float = Field(
        3600.0,
        gt=0,
        validation_alias="WL_MAX_WATCH_SECS",
        description="A `Watch` stream over gRPC-Web ends in order within this; its viewer goes on in the next one.",
    )

    @field_validator("allowed_origins", "allowed_hosts", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip().rstrip("/") for part in value.split(",") if part.strip())
        return value

    @property
    def fault(self) -> str | None:
        """What is wrong with the settings taken together, in one sentence without any secret; None when all is well."""
        if (self.tls_cert is None) != (self.tls_key is None):
            return "WL_TLS_CERT and WL_TLS_KEY belong together: set both or none"
        if self.tls_client_ca and not self.tls_cert:
            return "WL_TLS_CLIENT_CA asks clients for certificates, which needs TLS: set WL_TLS_CERT and WL_TLS_KEY"
        if self.bind not in LOOPBACK and not self.token and not self.tls_client_ca and not self.insecure:
            return (
                f"WL_BIND={self.bind} can be reached from other machines: set WL_TOKEN to a token of your own, "
                "or WL_TLS_CLIENT_CA, or say --insecure"
            )
        return None

    @property
    def origins(self) -> frozenset[str]:
        """Origins of pages that may call."""
        if self.allowed_origins:
            return frozenset(self.allowed_origins)
        return frozenset(f"http://{host}:{self.page_port}" for host in ("localhost", "127.0.0.1"))

    @property
    def secure_cookie(self) -> bool:
        """Whether browsers reach us by TLS only: our own, or that of a proxy before us, as the pages' origins tell."""
        return self.tls_cert is not None or all(origin.startswith("https://") for origin in self.origins)

    @property
    def token_path(self) -> Path:
        return self.token_file or self.data_dir / "token"
