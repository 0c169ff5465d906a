"""The header: refreshing at the viewer's own pace, quick toggles, keys and commands."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect
from weightslab_proto.weightslab.v1 import RunState

from tests.e2e.hands import cell, center_of, drag, filter_by, uid_of
from tests.support.background import with_api
from tests.support.main_job import LOSS, numbers, query, status
from tests.support.processes import wait_until
from tests.support.studio import Api, Studio

pytestmark = [pytest.mark.timeout(300)]


def _turn_off(page: Page, what: str) -> None:
    page.get_by_test_id("refresh-settings").click()
    page.get_by_test_id(f"refresh-{what}-auto").uncheck()
    expect(page.get_by_test_id(f"refresh-{what}-interval")).to_be_disabled()
    page.keyboard.press("Escape")


def _points(page: Page) -> int:
    card = page.locator('[data-testid="plot-card"][data-signal="train/loss"]')
    return int(card.get_attribute("data-points") or 0)


def _steps_pass(studio: Studio, count: int) -> None:
    start = with_api(studio, status).step
    wait_until(lambda: with_api(studio, status).step >= start + count, what=f"{count} steps are taken")


def test_without_auto_refresh_the_samples_stay_until_refreshed(studio: Studio, page: Page) -> None:
    _turn_off(page, "data")
    uid = uid_of(cell(page, 0))

    async def loss(api: Api) -> float:
        found = await query(api, f'uid == "{uid}" and split == "train"')
        return float(numbers(found, LOSS)[0])

    def gets_another_loss() -> None:
        before = with_api(studio, loss)
        wait_until(lambda: with_api(studio, loss) != before, what="the sample gets another loss")

    # What had been asked for before it was turned off comes still.
    gets_another_loss()
    shown = cell(page, 0).inner_text()
    gets_another_loss()
    _steps_pass(studio, 60)
    assert cell(page, 0).inner_text() == shown
    expect(page.get_by_test_id("grid-changed")).to_be_visible()
    page.get_by_test_id("refresh").click()
    expect(cell(page, 0)).not_to_have_text(shown)


def test_without_auto_refresh_the_plots_stay_until_refreshed(studio: Studio, page: Page) -> None:
    wait_until(lambda: _points(page) > 0, what="the curve is drawn")
    _turn_off(page, "plot")
    _steps_pass(studio, 10)
    before = _points(page)
    _steps_pass(studio, 40)
    assert _points(page) == before

    def catches_up() -> bool:
        # The ledger may not have stored the last of them yet.
        page.get_by_test_id("refresh").click()
        return _points(page) >= before + 40

    wait_until(catches_up, what="the plot catches up")


def test_clearing_the_cache_keeps_theme_colours_and_login(page: Page) -> None:
    before = page.get_by_test_id("grid-cell").count()
    page.get_by_test_id("theme-toggle").click()
    theme = page.evaluate("document.documentElement.dataset.theme")
    page.locator('[data-testid="split-color"][data-split="val"]').fill("#ff0066")
    page.get_by_test_id("cell-size").fill("240")
    page.get_by_test_id("details-apply").click()
    wait_until(lambda: page.get_by_test_id("grid-cell").count() < before, what="larger cells are fewer")
    page.get_by_test_id("refresh-settings").click()
    page.get_by_test_id("clear-cache").click()
    wait_until(lambda: page.get_by_test_id("grid-cell").count() == before, what="the usual size is back")
    assert page.evaluate("document.documentElement.dataset.theme") == theme
    color = page.locator('[data-testid="split-color"][data-split="val"]')
    expect(color).to_have_value("#ff0066")
    # Unless these are meant, too.
    page.get_by_test_id("refresh-settings").click()
    page.get_by_test_id("clear-looks").check()
    page.get_by_test_id("clear-cache").click()
    expect(color).not_to_have_value("#ff0066")
    expect(page.get_by_test_id("grid-cell").first).to_be_visible()


def test_twenty_quick_toggles_end_in_the_last(studio: Studio, page: Page) -> None:
    button, pill = page.get_by_test_id("header-pause"), page.get_by_test_id("state-pill")
    for _ in range(20):
        button.click()
    expect(pill).to_have_attribute("data-state", "running")
    assert with_api(studio, status).state == RunState.RUNNING
    for _ in range(21):
        button.click()
    expect(pill).to_have_attribute("data-state", "paused")
    paused = with_api(studio, status)
    assert paused.state == RunState.PAUSED
    # Nothing that was sent before comes after.
    page.get_by_test_id("refresh").click()
    expect(pill).to_have_attribute("data-state", "paused")
    assert with_api(studio, status).step == paused.step


def test_every_command_is_in_the_palette_with_its_key(studio: Studio, page: Page) -> None:
    page.keyboard.press("Control+k")
    page.get_by_test_id("palette-input").fill("pause")
    expect(page.get_by_test_id("palette-item").first).to_contain_text("Space")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("state-pill")).to_have_attribute("data-state", "paused")
    assert with_api(studio, status).state == RunState.PAUSED
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Undo my last edit")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_the_panel_its_cards_and_the_dividers_are_remembered(page: Page) -> None:
    divider = page.get_by_test_id("divider-panel")
    divider.focus()
    before = int(divider.get_attribute("aria-valuenow") or 0)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    after = int(divider.get_attribute("aria-valuenow") or 0)
    assert after > before
    page.reload()
    cell(page, 0).wait_for()
    assert int(page.get_by_test_id("divider-panel").get_attribute("aria-valuenow") or 0) == after
    plots = page.get_by_test_id("divider-plots")
    x, y = center_of(plots)
    share = plots.get_attribute("aria-valuenow")
    drag(page, (x, y), (x, y + 90))
    expect(plots).not_to_have_attribute("aria-valuenow", share or "")
    share = plots.get_attribute("aria-valuenow")
    page.get_by_test_id("card-tags-toggle").click()
    page.reload()
    cell(page, 0).wait_for()
    expect(plots).to_have_attribute("aria-valuenow", share or "")
    assert center_of(plots)[1] > y + 60
    expect(page.get_by_test_id("card-tags-toggle")).to_have_attribute("aria-expanded", "false")
    expect(page.get_by_test_id("tag-new")).to_have_count(0)
    page.get_by_test_id("panel-toggle").click()
    expect(page.get_by_test_id("divider-panel")).to_have_count(0)
    page.reload()
    cell(page, 0).wait_for()
    expect(page.get_by_test_id("divider-panel")).to_have_count(0)


def test_while_idle_there_is_no_request_but_the_stream(page: Page) -> None:
    page.get_by_test_id("header-pause").click()
    expect(page.get_by_test_id("state-pill")).to_have_attribute("data-state", "paused")
    filter_by(page, 'split == "val"')
    expect(page.locator('[data-testid="grid-cell"][data-image="loading"]')).to_have_count(0)
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))

    def quiet() -> bool:
        """Whether nothing was asked for during longer than any interval of the page."""
        requests.clear()
        page.wait_for_timeout(6_000)
        return requests == []

    # What was still on its way when the run came to rest is not idle.
    assert any(quiet() for _ in range(10)), requests
