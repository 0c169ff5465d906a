"""Parts of a studio are killed: the page names each and what to check, keeps what it shows, and takes back no edit."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.conftest import ACTION_TIMEOUT_MS
from tests.e2e.hands import cell, number_of, uids_of
from tests.support import volumes_run
from tests.support.background import with_api
from tests.support.main_job import query
from tests.support.processes import wait_until
from tests.support.running import running_studio
from tests.support.studio import Api, Studio

pytestmark = [pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def own_studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A studio of its own: these tests kill it piece by piece."""
    command = [sys.executable, "-m", volumes_run.__name__]
    with running_studio(tmp_path_factory.mktemp("missing-parts"), trainer=command) as studio:
        yield studio


@pytest.fixture
def own_page(browser: Browser, own_studio: Studio) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(ACTION_TIMEOUT_MS)
    page = context.new_page()
    page.goto(own_studio.login_url)
    page.locator('[data-testid="grid-cell"][data-image="shown"]').first.wait_for()
    yield page
    context.close()


PARTS = {"trainer": ("trainer", "training process"), "store": ("store", "Redis"), "nats": ("bus", "NATS")}


def test_each_missing_part_is_named_with_what_to_check(own_studio: Studio, own_page: Page) -> None:
    banner = own_page.get_by_test_id("banner")
    shown = uids_of(own_page)
    for process, (part, check) in PARTS.items():
        own_studio.processes[process].kill()
        named = own_page.locator(f'[data-testid="banner"][data-missing~="{part}"]')
        expect(named).to_contain_text(check)
        expect(own_page.get_by_test_id("connection")).to_have_attribute("data-state", "partial")
        # What was on the screen is still there to be looked at.
        assert uids_of(own_page) == shown
        own_studio.start_one(process)
        expect(banner).to_have_count(0)


def test_an_edit_that_nobody_takes_is_taken_back_with_the_reason(own_studio: Studio, own_page: Page) -> None:
    active = number_of(own_page, "count-active")
    own_studio.processes["ledger"].kill()
    expect(own_page.locator('[data-testid="banner"][data-missing~="ledger"]')).to_be_visible()
    cell(own_page, 0).click()
    own_page.keyboard.press("Delete")
    # Shown at once, and taken back when it was refused.
    expect(cell(own_page, 0)).to_have_attribute("data-discarded", "true")
    expect(own_page.get_by_test_id("toast").filter(has_text="Nothing was changed")).to_contain_text("ledger")
    expect(cell(own_page, 0)).to_have_attribute("data-discarded", "false")
    own_studio.start_one("ledger")
    expect(own_page.get_by_test_id("banner")).to_have_count(0)

    async def discarded(api: Api) -> int:
        return (await query(api, "discarded", limit=1)).matched

    assert with_api(own_studio, discarded) == 0
    # From here on it is taken.
    cell(own_page, 0).click()
    own_page.keyboard.press("Delete")
    expect(own_page.get_by_test_id("count-active")).to_have_attribute("data-value", str(active - 1))
    wait_until(lambda: with_api(own_studio, discarded) == 1, what="the ledger holds the edit")
