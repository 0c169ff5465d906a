"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

data_dir = click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for everything that is kept on disk.  [WL_DATA_DIR; .weightslab]",
)

FORMATS = ("csv", "json", "parquet")

form = click.option(
    "--format", "form", type=click.Choice(FORMATS), help="What the file is; by its ending unless given, else csv."
)


def form_of(given: str | None, file: Path | None) -> str:
    """The format that was given, or that the ending of a file says. Raises UsageError when it says none."""
    chosen = given or (file.suffix.lstrip(".").lower() if file else "csv")
    if chosen not in FORMATS:
        raise click.UsageError(f"no format is known by the ending of {file}: give --format csv, json or parquet")
    return chosen


# Generic only in later versions of click than the oldest that we work with.
class Port(click.ParamType):  # type: ignore[type-arg]
    """A TCP port from `least` on. Unlike click's range, it does not repeat in every help what a port is."""

    name = "port"

    def __init__(self, *, least: int = 1) -> None:
        self._least = least

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        port = int(click.INT.convert(value, param, ctx))
        if not self._least <= port <= 65535:
            self.fail(f"{port} is no port: give a number from {self._least} to 65535", param, ctx)
        return port


def _port(flag: str, text: str, *, least: int = 1) -> Decorator:
    return click.option(flag, type=Port(least=least), metavar="PORT", help=text)


_STUDIO: list[Decorator] = [
    data_dir,
    _port("--page-port", "The page.  [VITE_PORT; 5173]"),
    _port("--web-port", "gRPC-Web and images.  [ENVOY_PORT; 8080]"),
    _port("--admin-port", "Health and metrics.  [ENVOY_ADMIN_PORT; 9901]"),
    _port("--grpc-port", "gRPC.  [GRPC_BACKEND_PORT; 50051]"),
    _port("--nats-port", "The embedded message bus.  [WL_NATS_PORT; a free one]"),
    _port("--redis-port", "The embedded store.  [WL_REDIS_PORT; a free one]"),
    _port("--console-port", "The console of the demo's run; 0 takes a free one.  [CLI_PORT; 60000]", least=0),
    click.option(
        "--log-level",
        type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"], case_sensitive=False),
        help="The least severe log level that is shown.  [WL_LOG_LEVEL; INFO]",
    ),
    click.option(
        "--log-format",
        type=click.Choice(["auto", "text", "json"]),
        help="`auto`: text on a terminal, JSON elsewhere.  [WL_LOG_FORMAT; auto]",
    ),
    click.option("--no-browser", is_flag=True, help="Do not open the page in a browser."),
]


def studio(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of commands that start a studio."""
    for option in reversed(_STUDIO):
        command = option(command)
    return command
