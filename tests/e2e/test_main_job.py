"""The main job as a person does it in the browser, with a second window that looks on.

The pictures that it takes are the README's: `make pictures` copies them there.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from weightslab.demo.digits import swapped_uids

from tests.e2e.conftest import OpenPage
from tests.support.background import with_api
from tests.support.main_job import TRAIN, all_pages, epochs_pass, query, status
from tests.support.processes import wait_until
from tests.support.studio import Api, Studio

pytestmark = [pytest.mark.timeout(300)]

PICTURES = Path(__file__).parent / "output"
TAG = "mislabelled"


def _take_picture(page: Page, name: str) -> None:
    PICTURES.mkdir(exist_ok=True)
    expect(page.locator('[data-testid="grid-cell"][data-image="loading"]')).to_have_count(0)
    page.screenshot(path=PICTURES / f"{name}.png")


def _number(page: Page, test_id: str) -> int:
    value = page.get_by_test_id(test_id).get_attribute("data-value")
    assert value is not None
    return int(value)


def _points(page: Page, signal: str) -> int:
    card = page.locator(f'[data-testid="plot-card"][data-signal="{signal}"]')
    return int(card.get_attribute("data-points") or 0)


def _uids(page: Page) -> list[str]:
    cells = page.get_by_test_id("grid-cell").all()
    return [uid for cell in cells if (uid := cell.get_attribute("data-uid")) is not None]


def _curves_move(page: Page) -> None:
    before = _points(page, "train/loss")
    wait_until(lambda: _points(page, "train/loss") > before, what="the curve of the loss moves")


def _sort_by_loss(page: Page) -> None:
    page.get_by_test_id("query-input").fill(f"{TRAIN} and not discarded")
    page.get_by_test_id("query-input").press("Enter")
    page.get_by_role("button", name="Sort", exact=True).click()
    page.get_by_test_id("sort-add").select_option(label="train/loss")
    page.keyboard.press("Escape")


def _swapped_in_front(page: Page, swapped: set[str]) -> list[str]:
    """Refresh until most of the cells on the page are swapped ones, as far as the page holds so many."""
    found: list[str] = []

    def in_front() -> bool:
        page.get_by_test_id("refresh").click()
        expect(page.get_by_test_id("grid-pane")).to_have_attribute("aria-busy", "false")
        shown = _uids(page)
        found[:] = [uid for uid in shown if uid in swapped]
        return len(found) >= 0.8 * min(len(shown), len(swapped))

    wait_until(in_front, what="sorting by loss brings the swapped labels to the front", timeout_secs=120)
    return found


def _select(page: Page, uids: list[str]) -> None:
    """Drag over all cells, then take out by Ctrl+click what is not meant."""
    cells = page.get_by_test_id("grid-cell")
    first, last = cells.first.bounding_box(), cells.last.bounding_box()
    assert first is not None
    assert last is not None
    page.mouse.move(first["x"] + 2, first["y"] + 2)
    page.mouse.down()
    page.mouse.move(last["x"] + last["width"] / 2, last["y"] + last["height"] / 2, steps=8)
    page.mouse.up()
    for uid in _uids(page):
        if uid not in uids:
            page.locator(f'[data-testid="grid-cell"][data-uid="{uid}"]').click(modifiers=["Control"])
    expect(page.get_by_test_id("selection-count")).to_contain_text(str(len(uids)))


def test_find_tag_discard_and_train_on(studio: Studio, open_page: OpenPage) -> None:
    swapped = set(swapped_uids())
    page, other = open_page(), open_page()
    _curves_move(page)
    _take_picture(page, "studio-dark")

    _sort_by_loss(page)
    found = _swapped_in_front(page, swapped)
    active, total = _number(page, "count-active"), _number(page, "count-total")
    _select(page, found)
    page.locator(f'[data-testid="grid-cell"][data-uid="{found[0]}"]').click(button="right")
    page.get_by_test_id("menu-tags").click()
    page.get_by_test_id("tag-manager-new").fill(TAG)
    page.get_by_test_id("tag-manager-new").press("Enter")
    row = page.locator(f'[data-testid="tag-row"][data-tag="{TAG}"]')
    expect(row).to_contain_text(f"{len(found)} of {len(found)}")
    page.keyboard.press("Escape")
    # The page has paused the training before the edit and says so.
    expect(page.get_by_test_id("state-pill")).to_have_attribute("data-state", "paused")
    expect(page.get_by_test_id("toast").filter(has_text="paused")).to_be_visible()

    page.locator(f'[data-testid="grid-cell"][data-uid="{found[0]}"]').click(button="right")
    page.get_by_test_id("menu-discard").click()
    expect(page.get_by_test_id("count-active")).to_have_attribute("data-value", str(active - len(found)))
    expect(page.get_by_test_id("count-total")).to_have_attribute("data-value", str(total))
    for uid in found:
        cell = page.locator(f'[data-testid="grid-cell"][data-uid="{uid}"]')
        expect(cell).to_have_attribute("data-discarded", "true")
    page.get_by_test_id("theme-toggle").click()
    _take_picture(page, "found-light")

    # The second window has seen all of it without a reload.
    expect(other.get_by_test_id("state-pill")).to_have_attribute("data-state", "paused")
    expect(other.get_by_test_id("count-active")).to_have_attribute("data-value", str(active - len(found)))
    chip = other.locator(f'[data-testid="tag-chip"][data-tag="{TAG}"]')
    expect(chip).to_have_attribute("data-count", str(len(found)))

    async def paused_step(api: Api) -> int:
        tagged = await query(api, f'tag("{TAG}") and discarded')
        assert sorted(tagged.uids) == sorted(found)
        return (await status(api)).step

    step = with_api(studio, paused_step)
    page.get_by_test_id("header-pause").click()
    expect(other.get_by_test_id("state-pill")).to_have_attribute("data-state", "running")

    async def never_drawn_again(api: Api) -> None:
        await epochs_pass(api, after_step=step, epochs=2)
        uids, last_steps, _ = await all_pages(api, TRAIN)
        drawn = {uid for uid, last in zip(uids, last_steps, strict=True) if last > step}
        assert not drawn & set(found)

    with_api(studio, never_drawn_again)
    _curves_move(other)

    # What was done can be taken back: first the discard, then the tag.
    page.keyboard.press("Control+z")
    expect(other.get_by_test_id("count-active")).to_have_attribute("data-value", str(active))
    page.keyboard.press("Control+z")
    expect(chip).to_have_count(0)
