"""A tab behind another one rests, and misses and doubles nothing when it comes back."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Request, expect, sync_playwright
from weightslab_proto.weightslab.v1 import EditOperation, ResumeRequest

from tests.e2e.conftest import ACTION_TIMEOUT_MS
from tests.e2e.hands import cell, rest, stored_points, train, uid_of
from tests.support.background import with_api
from tests.support.main_job import LOSS, edit_request, status
from tests.support.processes import Process, wait_until
from tests.support.studio import EXPERIMENT, Api, Studio
from tools import chromium

pytestmark = [pytest.mark.timeout(300)]


@pytest.fixture
def tab(studio: Studio, tmp_path: Path) -> Iterator[Page]:
    """A tab of a browser that hides what is behind another tab, as everybody's does and a test's does not."""
    path = chromium.find()
    assert path, chromium.ADVICE
    profile = tmp_path / "profile"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--window-size=1440,1000"]
    process = Process(
        [path, *options, "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"],
        log=tmp_path / "chromium.log",
    )
    process.start()
    told = profile / "DevToolsActivePort"
    wait_until(lambda: told.exists() and "\n" in told.read_text(), what="the browser listens")
    try:
        with sync_playwright() as playwright:
            address = f"http://127.0.0.1:{told.read_text().splitlines()[0]}"
            browser = playwright.chromium.connect_over_cdp(address, no_defaults=True)
            context = browser.contexts[0]
            context.set_default_timeout(ACTION_TIMEOUT_MS)
            tab = context.pages[0]
            tab.goto(studio.login_url)
            cell(tab, 0).wait_for()
            yield tab
            browser.close()
    finally:
        process.stop()

        async def resume(api: Api) -> None:
            await api.experiments.resume(ResumeRequest(experiment=EXPERIMENT))

        with_api(studio, resume)


def _is_watch(request: Request) -> bool:
    return request.url.endswith("/Watch")


def test_a_hidden_tab_asks_for_nothing_and_misses_nothing(studio: Studio, tab: Page) -> None:
    train(tab)
    card = tab.locator(f'[data-testid="plot-card"][data-signal="{LOSS}"]')
    wait_until(lambda: int(card.get_attribute("data-points") or 0) > 0, what="the curve is drawn")
    uid = uid_of(cell(tab, 0))
    tag = f"unseen {uuid.uuid4().hex[:6]}"
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))

    with tab.expect_event("requestfailed", _is_watch):
        other = tab.context.new_page()
        other.bring_to_front()
        wait_until(lambda: bool(tab.evaluate("document.hidden")), what="the tab is hidden")
    asked.clear()
    step = with_api(studio, status).step

    async def edit(api: Api) -> None:
        await api.samples.edit_samples(edit_request(EditOperation.ADD_TAG, [uid], tag=tag))

    with_api(studio, edit)
    wait_until(lambda: with_api(studio, status).step >= step + 50, what="the training goes on")
    assert asked == []

    with tab.expect_request(_is_watch):
        tab.bring_to_front()
    expect(tab.locator(f'[data-testid="tag-chip"][data-tag="{tag}"]')).to_have_attribute("data-count", "1")
    rest(studio, tab)
    wait_until(
        lambda: int(card.get_attribute("data-points") or 0) == with_api(studio, stored_points),
        what="the plot holds each point once",
    )
