"""One sample, large: keys, zoom, metadata and edits; what came of it is read from the server."""

from __future__ import annotations

import json
import uuid

import pytest
from playwright.sync_api import Page, expect
from weightslab_proto.weightslab.v1 import GetTrajectoriesRequest, Mode, SampleRef

from tests.e2e.hands import cell, center_of, drag, rest, uid_of, uids_of
from tests.support.background import with_api
from tests.support.main_job import query
from tests.support.processes import wait_until
from tests.support.studio import EXPERIMENT, Api, Studio

pytestmark = [pytest.mark.timeout(300)]


def _zoom(page: Page) -> float:
    return float(page.get_by_test_id("modal-image").get_attribute("data-zoom") or 0)


def _open(page: Page, number: int) -> None:
    cell(page, number).dblclick()
    expect(page.get_by_test_id("modal-image")).to_have_attribute("data-status", "shown")


def test_the_wheel_zooms_at_the_cursor_and_a_drag_pans(page: Page) -> None:
    _open(page, 0)
    x, y = center_of(page.get_by_test_id("modal-image"))
    page.mouse.move(x, y)
    page.mouse.wheel(0, -400)
    wait_until(lambda: _zoom(page) > 1.5, what="the wheel zooms in")
    drag(page, (x, y), (x + 60, y + 30))
    for _ in range(20):
        page.mouse.wheel(0, -2000)
    wait_until(lambda: _zoom(page) == 40, what="the zoom ends at 40")
    page.keyboard.press("0")
    wait_until(lambda: _zoom(page) == 1, what="the image fits again")


def test_arrow_keys_go_across_pages(page: Page) -> None:
    last = uids_of(page)[-1]
    page.get_by_test_id("grid-cell").last.dblclick()
    modal = page.get_by_test_id("modal")
    expect(modal).to_have_attribute("data-uid", last)
    page.keyboard.press("ArrowRight")
    expect(modal).not_to_have_attribute("data-uid", last)
    following = modal.get_attribute("data-uid")
    page.keyboard.press("ArrowLeft")
    expect(modal).to_have_attribute("data-uid", last)
    page.keyboard.press("ArrowRight")
    expect(modal).to_have_attribute("data-uid", following or "")
    page.keyboard.press("Escape")
    expect(page.locator(f'[data-testid="grid-cell"][data-uid="{following}"]')).to_be_visible()


def test_a_sample_is_opened_from_its_address(page: Page) -> None:
    _open(page, 2)
    uid = page.get_by_test_id("modal").get_attribute("data-uid")
    page.reload()
    expect(page.get_by_test_id("modal")).to_have_attribute("data-uid", uid or "")
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("modal")).to_have_count(0)
    page.go_back()
    expect(page.get_by_test_id("modal")).to_have_attribute("data-uid", uid or "")


def test_metadata_is_searched_and_copied(page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    _open(page, 1)
    page.get_by_test_id("modal-meta-search").fill("target")
    field = page.locator('[data-testid="modal-field"][data-name="target"]')
    expect(page.get_by_test_id("modal-field")).to_have_count(1)
    field.get_by_role("button").click()
    expect(page.locator(".modal-copied")).to_contain_text("copied")
    assert page.evaluate("navigator.clipboard.readText()") == field.get_by_role("button").inner_text()
    page.get_by_test_id("modal-copy-all").click()
    expect(page.locator(".modal-copied")).to_contain_text("Everything")
    copied = json.loads(page.evaluate("navigator.clipboard.readText()"))
    assert copied["uid"] == page.get_by_test_id("modal").get_attribute("data-uid")


def test_a_sample_is_tagged_and_discarded_by_keys(studio: Studio, page: Page) -> None:
    tag = f"tag {uuid.uuid4().hex[:8]}"
    uid = uid_of(cell(page, 4))
    _open(page, 4)
    page.keyboard.press("t")
    page.keyboard.type(tag)
    page.keyboard.press("Enter")

    async def tagged(api: Api) -> list[str]:
        return (await query(api, f'tag("{tag}")')).uids

    wait_until(lambda: with_api(studio, tagged) == [uid], what="the sample is tagged")
    expect(page.locator(".modal-last-edit")).to_contain_text(tag)
    page.get_by_test_id("modal-discard").click()
    expect(page.get_by_test_id("modal")).to_have_attribute("data-discarded", "true")
    page.get_by_test_id("modal-restore").click()
    expect(page.get_by_test_id("modal")).to_have_attribute("data-discarded", "false")

    async def discarded(api: Api) -> int:
        return (await query(api, "discarded", limit=1)).matched

    assert with_api(studio, discarded) == 0


def test_the_values_of_a_sample_over_time_are_those_of_the_server(studio: Studio, page: Page) -> None:
    rest(studio, page)
    uid = uid_of(cell(page, 0))
    _open(page, 0)
    drawn = page.locator('[data-testid="trajectory"][data-signal="train/loss"]')

    async def kept(api: Api) -> int:
        request = GetTrajectoriesRequest(
            experiment=EXPERIMENT,
            signal="train/loss",
            mode=Mode.TRAIN,
            samples=[SampleRef(split="train", uid=uid)],
        )
        reply = await api.signals.get_trajectories(request)
        return sum(len(one.positions) // 8 for one in reply.trajectories)

    expect(drawn).to_have_attribute("data-points", str(with_api(studio, kept)))
    expect(drawn.locator("polyline").first).to_be_visible()


def test_two_samples_are_compared(page: Page) -> None:
    first, second = uid_of(cell(page, 0)), uid_of(cell(page, 3))
    cell(page, 0).click()
    cell(page, 3).click(modifiers=["Control"])
    page.keyboard.press("v")
    shown = page.get_by_test_id("compare-sample")
    expect(shown).to_have_count(2)
    assert [one.get_attribute("data-uid") for one in shown.all()] == [first, second]
    expect(page.get_by_test_id("compare").locator("polyline.is-second").first).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("compare")).to_have_count(0)
