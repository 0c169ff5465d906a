"""Selecting, painting, editing and showing samples, as a person does; what came of it is read from the server."""

from __future__ import annotations

import re
import uuid

import pytest
from playwright.sync_api import Page, expect
from weightslab_proto.weightslab.v1 import (
    Edit,
    EditOperation,
    ListEditsRequest,
    QuerySamplesRequest,
    RunState,
    SortKey,
)

from tests.e2e.conftest import OpenPage
from tests.e2e.hands import cell, center_of, drag, filter_by, number_of, uid_of, uids_of
from tests.support.background import with_api
from tests.support.main_job import query, status
from tests.support.processes import wait_until
from tests.support.studio import EXPERIMENT, Api, Studio

pytestmark = [pytest.mark.timeout(300)]


def _newest_edit(studio: Studio) -> Edit:
    async def newest(api: Api) -> Edit:
        request = ListEditsRequest(experiment=EXPERIMENT, limit=1, newest_first=True)
        return (await api.samples.list_edits(request)).edits[0]

    return with_api(studio, newest)


def _uids_of_tag(studio: Studio, tag: str) -> set[str]:
    async def members(api: Api) -> set[str]:
        return set((await query(api, f'tag("{tag}")')).uids)

    return with_api(studio, members)


def _selected(page: Page, count: int) -> None:
    expect(page.get_by_test_id("selection-count")).to_have_attribute("data-value", str(count))


def _tag_selection(page: Page, tag: str) -> None:
    """Tag what is selected by keys only."""
    page.keyboard.press("t")
    page.get_by_test_id("tag-manager-new").fill(tag)
    page.get_by_test_id("tag-manager-new").press("Enter")
    expect(page.locator(f'[data-testid="tag-row"][data-tag="{tag}"]')).to_be_visible()
    page.keyboard.press("Escape")


def _fresh_tag() -> str:
    return f"tag {uuid.uuid4().hex[:8]}"


def test_control_and_a_drag_add_and_remove(page: Page) -> None:
    drag(page, center_of(cell(page, 0)), center_of(cell(page, 2)))
    _selected(page, 3)
    cell(page, 1).click(modifiers=["Control"])
    _selected(page, 2)
    cell(page, 4).click(modifiers=["Control"])
    _selected(page, 3)
    assert cell(page, 1).get_attribute("aria-selected") == "false"


def test_shift_selects_a_range(page: Page) -> None:
    cell(page, 1).click()
    cell(page, 5).click(modifiers=["Shift"])
    _selected(page, 5)
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("selection-bar")).to_have_count(0)


def test_a_selection_goes_across_pages(studio: Studio, page: Page) -> None:
    tag = _fresh_tag()
    first = uid_of(cell(page, 0))
    cell(page, 0).click()
    page.keyboard.press("PageDown")
    expect(page.get_by_test_id("batch-start")).not_to_have_text("1")
    wait_until(lambda: uid_of(cell(page, 0)) != first, what="the next page is there")
    second = uid_of(cell(page, 0))
    cell(page, 0).click(modifiers=["Control"])
    _selected(page, 2)
    _tag_selection(page, tag)
    assert _uids_of_tag(studio, tag) == {first, second}


def test_control_a_edits_the_filtered_set_as_a_query(studio: Studio, page: Page) -> None:
    filter_by(page, 'split == "val"')
    active = number_of(page, "count-active")
    cell(page, 0).click()
    page.keyboard.press("Control+a")
    _selected(page, 360)
    page.keyboard.press("Delete")
    expect(page.get_by_test_id("count-active")).to_have_attribute("data-value", str(active - 360))
    edit = _newest_edit(studio)
    assert (edit.operation, edit.changed_count, edit.target_count) == (EditOperation.DISCARD, 360, 360)
    page.get_by_test_id("toast-undo").click()
    expect(page.get_by_test_id("count-active")).to_have_attribute("data-value", str(active))
    assert _newest_edit(studio).undone_revision == edit.revision


def test_the_painter_removes_what_it_has_added(studio: Studio, page: Page) -> None:
    tag = _fresh_tag()
    page.get_by_test_id("tag-new").fill(tag)
    page.get_by_test_id("tag-add").click()
    page.keyboard.press("Escape")
    page.get_by_test_id("painter-toggle").click()
    places = [center_of(cell(page, number)) for number in range(4)]
    drag(page, *places)
    wait_until(lambda: len(_uids_of_tag(studio, tag)) == 4, what="the stroke has tagged")
    page.get_by_test_id("painter-mode").click()
    expect(page.get_by_test_id("painter-mode")).to_have_attribute("data-mode", "remove")
    drag(page, *places[:3])
    wait_until(lambda: len(_uids_of_tag(studio, tag)) == 1, what="the stroke has taken the tag away")
    edit = _newest_edit(studio)
    assert (edit.operation, edit.changed_count) == (EditOperation.REMOVE_TAG, 3)
    page.get_by_test_id("painter-toggle").click()


def test_the_menu_removes_all_tags_discards_and_restores(studio: Studio, page: Page) -> None:
    tags = [_fresh_tag(), _fresh_tag()]
    chosen = cell(page, 6)
    uid = uid_of(chosen)
    chosen.click()
    for tag in tags:
        _tag_selection(page, tag)
    active = number_of(page, "count-active")
    chosen.click(button="right")
    page.get_by_test_id("menu-clear-tags").click()
    wait_until(lambda: not any(_uids_of_tag(studio, tag) for tag in tags), what="both tags are gone")

    chosen.click(button="right")
    page.get_by_test_id("menu-discard").click()
    expect(chosen).to_have_attribute("data-discarded", "true")
    expect(page.get_by_test_id("count-active")).to_have_attribute("data-value", str(active - 1))

    async def discarded(api: Api) -> list[str]:
        return (await query(api, "discarded")).uids

    assert with_api(studio, discarded) == [uid]
    # The same by keys: the menu opens from the keyboard, too.
    chosen.click(button="right")
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    expect(chosen).to_have_attribute("data-discarded", "false")
    # The page shows an edit before it is acknowledged.
    wait_until(lambda: with_api(studio, discarded) == [], what="the sample is restored")


def test_an_edit_pauses_the_training_unless_that_is_turned_off(studio: Studio, page: Page) -> None:
    page.get_by_test_id("refresh-settings").click()
    page.get_by_test_id("pause-before-edit").uncheck()
    page.keyboard.press("Escape")
    cell(page, 3).click()
    page.keyboard.press("Delete")
    expect(cell(page, 3)).to_have_attribute("data-discarded", "true")
    expect(page.get_by_test_id("toast").filter(has_text="Discarded 1 sample from step")).to_be_visible()
    assert with_api(studio, status).state == RunState.RUNNING
    assert _newest_edit(studio).effective_step is not None

    page.get_by_test_id("refresh-settings").click()
    page.get_by_test_id("pause-before-edit").check()
    page.keyboard.press("Escape")
    cell(page, 3).click()
    page.keyboard.press("Shift+Delete")
    expect(cell(page, 3)).to_have_attribute("data-discarded", "false")
    toast = page.get_by_test_id("toast").filter(has_text="paused")
    expect(toast).to_be_visible()
    assert with_api(studio, status).state == RunState.PAUSED
    toast.get_by_test_id("toast-resume").click()
    expect(page.get_by_test_id("state-pill")).to_have_attribute("data-state", "running")
    expect(toast).to_have_count(0)


def test_a_field_is_shown_sorted_by_and_filtered_by(studio: Studio, page: Page) -> None:
    field = page.locator('[data-testid="field-toggle"][data-field="target"]')
    expect(field).to_be_checked()
    expect(cell(page, 0)).to_contain_text("target")
    field.uncheck()
    expect(cell(page, 0)).not_to_contain_text("target")
    field.check()
    expect(cell(page, 0)).to_contain_text("target")

    page.locator('[data-testid="field-sort"][data-field="target"]').click()
    expect(page.locator('[data-testid="field-sort"][data-field="target"]')).to_have_text("↓")

    async def nines(api: Api) -> set[str]:
        return set((await query(api, "target == 9")).uids)

    wait_until(lambda: set(uids_of(page)) <= with_api(studio, nines), what="the nines come first")

    # With Shift another key comes after it: of the nines the last uid is first.
    page.locator('[data-testid="field-sort"][data-field="uid"]').click(modifiers=["Shift"])
    expect(page.get_by_test_id("sort")).to_contain_text("target+1")
    size = page.get_by_test_id("grid-cell").count()

    async def sorted_nines(api: Api) -> list[str]:
        keys = [SortKey(column="target", descending=True), SortKey(column="uid", descending=True)]
        request = QuerySamplesRequest(experiment=EXPERIMENT, sort=keys, limit=size)
        return (await api.samples.query_samples(request)).uids

    wait_until(lambda: uids_of(page) == with_api(studio, sorted_nines), what="the nines are sorted by their uid")

    page.get_by_test_id("distribution-column").select_option(label="target")
    histogram = page.get_by_test_id("histogram")
    expect(histogram).to_have_attribute("aria-label", re.compile("of target"))
    histogram.scroll_into_view_if_needed()
    bars = histogram.locator("rect")
    left, right = center_of(bars.first), center_of(bars.last)
    y = center_of(histogram)[1]
    drag(page, ((left[0] * 3 + right[0]) / 4, y), (right[0], y))
    expect(page.get_by_test_id("query-input")).to_have_value(re.compile(r"target >= .+ and target <= "))
    filtered = page.get_by_test_id("query-input").input_value()

    async def matched(api: Api) -> int:
        return (await query(api, filtered, limit=1)).matched

    expect(page.get_by_test_id("count-matched")).to_have_attribute("data-value", str(with_api(studio, matched)))


def test_sizes_are_applied(page: Page) -> None:
    before = page.get_by_test_id("grid-cell").count()
    page.get_by_test_id("cell-size").fill("200")
    page.get_by_test_id("resolution").fill("64")
    expect(page.get_by_test_id("grid-cell")).to_have_count(before)
    page.get_by_test_id("details-apply").click()
    wait_until(lambda: page.get_by_test_id("grid-cell").count() < before, what="larger cells are fewer")
    box = cell(page, 0).bounding_box()
    assert box is not None
    assert box["width"] >= 200
    assert "w=64" in (cell(page, 0).locator("img").get_attribute("src") or "")


def test_the_colour_of_a_split_is_chosen_and_kept(page: Page) -> None:
    page.locator('[data-testid="split-color"][data-split="train"]').fill("#12ab34")
    filter_by(page, 'split == "train"')
    expect(cell(page, 0)).to_have_attribute("data-split", "train")
    shown = "getComputedStyle(document.querySelector('[data-testid=grid-cell]')).getPropertyValue('--split').trim()"
    wait_until(lambda: page.evaluate(shown) == "#12ab34", what="the edge of the cells has the colour")
    page.reload()
    cell(page, 0).wait_for()
    wait_until(lambda: page.evaluate(shown) == "#12ab34", what="the colour is remembered")


def test_quick_opposite_edits_of_a_window_end_in_the_last(studio: Studio, page: Page) -> None:
    cell(page, 0).click()
    # The first of them waits until the training is paused; the second must not overtake it.
    page.keyboard.press("Delete")
    page.keyboard.press("Shift+Delete")
    expect(page.get_by_test_id("toast").filter(has_text="Restored 1 sample")).to_be_visible()
    newest = _newest_edit(studio)
    assert (newest.operation, newest.changed_count) == (EditOperation.RESTORE, 1)
    expect(cell(page, 0)).to_have_attribute("data-discarded", "false")
    page.keyboard.press("Delete")
    page.keyboard.press("Control+z")
    expect(page.get_by_test_id("toast").filter(has_text="Undone")).to_be_visible()
    expect(cell(page, 0)).to_have_attribute("data-discarded", "false")


def test_opposite_edits_of_two_windows_end_in_one_value(studio: Studio, page: Page, open_page: OpenPage) -> None:
    other = open_page()
    uid = uid_of(cell(page, 0))
    there = other.locator(f'[data-testid="grid-cell"][data-uid="{uid}"][data-split="train"]')
    cell(page, 0).click()
    there.click()
    page.keyboard.press("Delete")
    other.keyboard.press("Shift+Delete")
    page.keyboard.press("Delete")
    # The other window's edit may come first, or last: then the second of this one finds nothing to change.
    told = page.get_by_test_id("toast").filter(has_text=re.compile("Discarded 1 sample|so already"))
    expect(told).to_be_visible()

    async def held(api: Api) -> str:
        found = await query(api, f'uid == "{uid}" and split == "train" and discarded', limit=1)
        return "true" if found.matched else "false"

    def agree() -> bool:
        values = {one.get_attribute("data-discarded") for one in (cell(page, 0), there)}
        return values == {with_api(studio, held)}

    wait_until(agree, what="both windows show what the ledger holds")
    cell(page, 0).click()
    page.keyboard.press("Shift+Delete")
    wait_until(lambda: with_api(studio, held) == "false" and agree(), what="the sample is restored everywhere")


def test_two_windows_have_views_of_their_own(page: Page, open_page: OpenPage) -> None:
    other = open_page()
    filter_by(page, 'split == "val"')
    filter_by(other, "target == 1")
    expect(page.get_by_test_id("count-matched")).to_have_attribute("data-value", "360")
    assert number_of(other, "count-matched") not in (360, 1797)
