"""A stream of changes that comes to its time goes on in the next one, and nobody sees it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Request

from tests.e2e.conftest import OpenPage
from tests.e2e.hands import rest, stored_points, train
from tests.support.background import with_api
from tests.support.main_job import LOSS
from tests.support.processes import wait_until
from tests.support.studio import Studio

pytestmark = [pytest.mark.timeout(300)]

NOTE_WHAT_IS_SHOWN = """() => {
  window.shown = new Set();
  const note = () => {
    window.shown.add(document.querySelector('[data-testid="connection"]').dataset.state);
    if (document.querySelector('[data-missing="gateway"]')) window.shown.add('banner');
  };
  new MutationObserver(note).observe(document.body, { subtree: true, childList: true, attributes: true });
  note();
}"""


def _restart_gateway(studio: Studio, max_watch_secs: str) -> None:
    studio.processes["gateway"].stop()
    studio.processes["gateway"].change_environment({"WL_MAX_WATCH_SECS": max_watch_secs})
    studio.start_one("gateway")
    wait_until(studio.ready, what="the studio is ready", timeout_secs=60)


@pytest.fixture
def brief(studio: Studio) -> Iterator[Studio]:
    """A studio whose gateway ends each stream within two seconds."""
    _restart_gateway(studio, "2")
    yield studio
    _restart_gateway(studio, "3600")


def test_nobody_sees_that_a_stream_has_come_to_its_time(brief: Studio, open_page: OpenPage) -> None:
    page = open_page()
    train(page)
    watched: list[str] = []

    def note(request: Request) -> None:
        if request.url.endswith("/Watch"):
            watched.append(request.url)

    page.on("request", note)
    page.evaluate(NOTE_WHAT_IS_SHOWN)
    while len(watched) < 3:
        page.wait_for_timeout(100)
    rest(brief, page)
    card = page.locator(f'[data-testid="plot-card"][data-signal="{LOSS}"]')
    wait_until(
        lambda: int(card.get_attribute("data-points") or 0) == with_api(brief, stored_points),
        what="the plot holds each point once",
    )
    shown = set(page.evaluate("[...window.shown]"))
    assert "live" in shown
    assert not shown & {"connecting", "waiting", "banner"}
    page.context.close()
