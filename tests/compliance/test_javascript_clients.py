"""Real JavaScript clients, from Node.js and from a browser across origins, against the gateway and through Envoy."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import http.server
import json
import shutil
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Page, async_playwright
from weightslab_common.bus import Bus

from tests.compliance.bundle import build
from tests.compliance.slow_ledger import PAGE_POINTS, PAGES, SlowLedger
from tests.support.envoy import running_envoy
from tests.support.studio import TOKEN
from tests.unit.gateway.conftest import Gateway, running_gateway
from tools import chromium
from tools.build_page import node_folder

MAX_MESSAGE_BYTES = 1024**2
# How many cases each client passes: `KNOWN` in `js/src/suite.ts` says what some cannot do.
CLIENTS = {
    "connect binary": 12,
    "protobuf-ts binary": 12,
    "protobuf-ts text": 12,
    "google binary": 10,
    "google text": 12,
}


class _Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("clients")
    build(out)
    (out / "index.html").write_text('<!doctype html><meta charset="utf-8"><script src="browser.js"></script>')
    return out


@pytest.fixture(scope="module")
def origin(bundles: Path) -> Iterator[str]:
    """The origin of a page with the clients: another port than the gateway's."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Files, directory=bundles)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture
async def gateway(nats_url: str, tmp_path: Path, origin: str) -> AsyncIterator[Gateway]:
    settings = {"allowed_origins": origin, "max_message_bytes": MAX_MESSAGE_BYTES}
    async with running_gateway(nats_url, tmp_path, **settings) as gateway:
        yield gateway


@pytest.fixture(params=["own", "envoy"])
def url(request: pytest.FixtureRequest, gateway: Gateway, tmp_path: Path, origin: str) -> Iterator[str]:
    """Where the clients call: the gateway's own gRPC-Web, or Envoy before its gRPC."""
    if request.param == "own":
        yield gateway.web_url
        return
    with running_envoy(tmp_path, grpc_port=gateway.grpc_port, web_port=gateway.web_port, origin=origin) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
async def where(nats_url: str, url: str) -> AsyncIterator[dict[str, object]]:
    bus = await Bus.connect(nats_url, name="peers")
    await bus.ensure_streams()
    for name in ("steady", "broken"):
        await SlowLedger(bus, name, broken=name == "broken").start()
    yield {
        "url": url,
        "token": TOKEN,
        "steady": "steady",
        "broken": "broken",
        "maxMessageBytes": MAX_MESSAGE_BYTES,
        "exportedPoints": PAGE_POINTS * PAGES,
    }
    await bus.close()


def _check(report: dict[str, str], expected: dict[str, int]) -> None:
    assert {case: outcome for case, outcome in report.items() if outcome != "ok"} == {}
    counts = {name: sum(case.startswith(f"{name}: ") for case in report) for name in CLIENTS}
    assert counts == expected


async def _nobody_watches(gateway: Gateway) -> None:
    async with asyncio.timeout(10), httpx.AsyncClient(base_url=gateway.admin_url) as http:
        # Nothing tells when a number has changed.
        while "wl_gateway_viewers 0.0" not in (await http.get("/metrics")).text:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def test_clients_in_node_get_what_they_ask_for(where: dict[str, object], gateway: Gateway, bundles: Path) -> None:
    node = shutil.which("node", path=str(node_folder()))
    assert node
    process = await asyncio.create_subprocess_exec(
        node, str(bundles / "node.cjs"), json.dumps(where), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await asyncio.wait_for(process.communicate(), timeout=90)
    assert process.returncode == 0
    _check(json.loads(output), CLIENTS | {"google text": 11})
    await _nobody_watches(gateway)


@contextlib.asynccontextmanager
async def _browser_page(address: str) -> AsyncIterator[Page]:
    path = chromium.find()
    assert path, chromium.ADVICE
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        page = await browser.new_page()
        await page.goto(address)
        yield page
        await browser.close()


async def test_clients_in_a_browser_get_what_they_ask_for_across_origins(
    where: dict[str, object], gateway: Gateway, origin: str
) -> None:
    async with _browser_page(f"{origin}/index.html") as page:
        report = await asyncio.wait_for(page.evaluate("where => runSuite(where)", where), timeout=90)
    _check(report, CLIENTS)
    await _nobody_watches(gateway)


async def test_a_page_of_another_origin_gets_nothing(where: dict[str, object], origin: str) -> None:
    foreign = origin.replace("127.0.0.1", "localhost")
    async with _browser_page(f"{foreign}/index.html") as page:
        report = await asyncio.wait_for(page.evaluate("where => runSuite(where)", where), timeout=90)
    got = {case for case, outcome in report.items() if outcome == "ok"}
    # What is asked for there is a failure, which a refusal is, too.
    assert not {case for case in got if "unary" in case or "stream to its end" in case or "empty" in case}, got
