"""The page with a real Envoy in the gateway's place: the configuration that compose ships, the page unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import OpenPage
from tests.e2e.hands import cell, filter_by, pause, train
from tests.support.envoy import running_envoy
from tests.support.processes import Process, accepts, wait_until
from tests.support.studio import Studio

pytestmark = [pytest.mark.timeout(300)]


@pytest.fixture
def envoy_port(studio: Studio, tmp_path: Path) -> Iterator[int]:
    """The port of an Envoy that the studio's page calls instead of the gateway."""
    own = studio.processes["ui"]
    origin = studio.page_url
    with running_envoy(tmp_path, grpc_port=studio.grpc_port, web_port=studio.web_port, origin=origin) as port:
        other = Process(
            own.command, log=tmp_path / "ui.log", environment=own.environment | {"WS_SERVER_PORT": str(port)}
        )
        own.stop()
        other.start()
        try:
            wait_until(lambda: accepts(studio.page_port), what="the page's host listens", timeout_secs=60)
            yield port
        finally:
            other.stop()
            studio.start_one("ui")


def test_everything_on_the_page_works(envoy_port: int, open_page: OpenPage) -> None:
    page = open_page()
    called: set[str] = set()
    page.on("request", lambda request: called.add(request.url.split("/")[2]))
    # The stream, commands both ways, a query, images.
    train(page)
    card = page.locator('[data-testid="plot-card"][data-signal="train/loss"]')
    before = int(card.get_attribute("data-points") or 0)
    wait_until(lambda: int(card.get_attribute("data-points") or 0) > before, what="the curve moves", timeout_secs=60)
    pause(page)
    filter_by(page, 'split == "train"')
    expect(cell(page, 0)).to_have_attribute("data-image", "shown")
    train(page)
    services = {address for address in called if not address.endswith(page.url.split("/")[2])}
    assert services == {f"localhost:{envoy_port}"}
    assert httpx.get(f"http://localhost:{envoy_port}/media/digits/train/1", timeout=20).headers["server"] == "envoy"
