"""Settings of the page's host."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from weightslab_common.settings import StopSettings

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})


class UiSettings(StopSettings):
    """What `python -m weightslab_ui` reads."""

    port: int = Field(5173, validation_alias="VITE_PORT", ge=1, le=65535, description="Port of the page.")
    bind: str = Field(
        "127.0.0.1", validation_alias="WL_UI_BIND", min_length=1, description="Address that the page's host listens on."
    )
    server_protocol: Literal["http", "https"] = Field(
        "http", validation_alias="WS_SERVER_PROTOCOL", description="How a browser reaches the gateway."
    )
    server_host: str = Field(
        "localhost",
        validation_alias="WS_SERVER_HOST",
        pattern=r"^([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])$",
        description="Host name of the gateway as a browser sees it.",
    )
    server_port: int = Field(
        8080,
        validation_alias="WS_SERVER_PORT",
        ge=1,
        le=65535,
        description="Port of the gateway's gRPC-Web and images.",
    )
    allowed_hosts: str = Field(
        "localhost,127.0.0.1,[::1]",
        validation_alias="WL_ALLOWED_HOSTS",
        description="Host names under which the page may be asked for, separated by commas; `*` allows any.",
    )

    def server_url(self, page_host: str) -> str:
        """Where a page that was opened as `page_host` finds the gateway.

        Loopback has several names, which a browser takes for different sites, and a cookie stays within its site:
        a page opened under one of them must talk to the gateway under the same.
        """
        host = self.server_host
        if host in LOOPBACK_HOSTS and page_host in LOOPBACK_HOSTS:
            host = page_host
        return f"{self.server_protocol}://{host}:{self.server_port}"

    @property
    def host_names(self) -> frozenset[str]:
        return frozenset(name.strip().lower() for name in self.allowed_hosts.split(",") if name.strip())
