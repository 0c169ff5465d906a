"""Each control of the page, used as a person does; what came of it is read from the server."""

from __future__ import annotations

import csv
import io
import json
import re
import uuid
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from weightslab_proto.weightslab.v1 import (
    EditOperation,
    ListColumnsRequest,
    ListEditsRequest,
    Mode,
    RunState,
)

from tests.e2e.conftest import OpenPage
from tests.e2e.hands import cell, filter_by, number_of, rest, stored_points, train, uid_of, uids_of
from tests.support.background import with_api
from tests.support.main_job import query, status
from tests.support.processes import wait_until
from tests.support.studio import EXPERIMENT, TOKEN, VIEWER_TOKEN, Api, Studio

pytestmark = [pytest.mark.timeout(300)]


def test_the_theme_is_remembered(page: Page) -> None:
    theme = page.evaluate("document.documentElement.dataset.theme")
    page.get_by_test_id("theme-toggle").click()
    changed = page.evaluate("document.documentElement.dataset.theme")
    assert changed != theme
    page.reload()
    page.get_by_test_id("grid-cell").first.wait_for()
    assert page.evaluate("document.documentElement.dataset.theme") == changed


def test_pause_and_resume_are_seen_by_the_trainer(studio: Studio, page: Page) -> None:
    page.get_by_test_id("header-pause").click()
    expect(page.get_by_test_id("state-pill")).to_have_attribute("data-state", "paused")
    assert with_api(studio, status).state == RunState.PAUSED
    page.get_by_test_id("header-pause").click()
    expect(page.get_by_test_id("state-pill")).to_have_attribute("data-state", "running")
    assert with_api(studio, status).state == RunState.RUNNING


def test_audit_takes_no_step_and_shows_its_certificate(studio: Studio, page: Page) -> None:
    page.get_by_test_id("mode-audit").click()
    expect(page.get_by_test_id("header-mode")).to_have_attribute("data-mode", "AUDIT")
    wait_until(lambda: with_api(studio, status).mode == Mode.AUDIT, what="the trainer audits")

    async def audited(api: Api) -> bool:
        # The values of samples come a moment after the point of the curve.
        columns = (await api.samples.list_columns(ListColumnsRequest(experiment=EXPERIMENT))).columns
        if not any(column.name == "train/loss:audit" for column in columns):
            return False
        return (await query(api, "not isnan(`train/loss:audit`)", limit=1)).matched > 200

    wait_until(lambda: with_api(studio, audited), what="samples are audited", timeout_secs=60)
    page.get_by_test_id("mode-train").click()
    expect(page.get_by_test_id("header-mode")).to_have_attribute("data-mode", "TRAIN")
    wait_until(lambda: with_api(studio, status).mode == Mode.TRAIN, what="the audit has ended")
    after = with_api(studio, status)
    assert after.audit is not None
    assert after.audit.hash_before == after.audit.hash_after != ""
    expect(page.locator("body")).to_contain_text(after.audit.hash_after[:8])


def test_a_hyperparameter_is_changed_and_a_wrong_one_refused(studio: Studio, page: Page) -> None:
    async def delay(api: Api) -> str:
        now = await status(api)
        return next(hp.applied_json for hp in now.hyperparameters if hp.name == "delay")

    box = page.locator('[data-testid="hp-input"][data-name="delay"]')
    box.fill("0.02")
    box.press("Enter")
    wait_until(lambda: with_api(studio, delay) == "0.02", what="the loop uses the new delay")
    box.fill("quickly")
    box.press("Enter")
    expect(page.get_by_test_id("hp-error")).to_contain_text("delay")
    assert with_api(studio, delay) == "0.02"


def test_a_malformed_query_is_explained_and_the_view_stays(page: Page) -> None:
    filter_by(page, 'split == "val"')
    expect(page.get_by_test_id("count-matched")).to_have_attribute("data-value", "360")
    shown = uids_of(page)
    filter_by(page, 'split == "val" and loss >')
    expect(page.get_by_test_id("query-error")).to_be_visible()
    expect(page.get_by_test_id("query-mark")).to_be_attached()
    assert uids_of(page) == shown
    expect(page.get_by_test_id("count-matched")).to_have_attribute("data-value", "360")


def test_counters_under_a_filter_are_of_the_dataset(page: Page) -> None:
    filter_by(page, 'target == 3 and split == "val"')
    expect(page.get_by_test_id("count-total")).to_have_attribute("data-value", "1797")
    expect(page.get_by_test_id("count-matched")).to_have_attribute("data-value", re.compile(r"[1-9][0-9]"))
    expect(page.get_by_test_id("count-active")).to_have_attribute("data-value", "1797")


def test_chips_put_terms_into_the_filter_and_take_them_out(page: Page) -> None:
    chip, matched = page.get_by_test_id("quick-filter"), page.get_by_test_id("count-matched")
    filter_by(page, "target >= 0")
    chip.filter(has_text="val").click()
    expect(page.get_by_test_id("query-input")).to_have_value('target >= 0 and split == "val"')
    expect(matched).to_have_attribute("data-value", "360")
    chip.filter(has_text="val").click()
    expect(page.get_by_test_id("query-input")).to_have_value("target >= 0")
    expect(matched).to_have_attribute("data-value", "1797")


def test_a_query_is_completed_while_it_is_typed(studio: Studio, page: Page) -> None:
    box, offered = page.get_by_test_id("query-input"), page.get_by_test_id("query-completions")
    box.press_sequentially("targ")
    expect(offered.get_by_role("option").first).to_contain_text("target")
    box.press("Tab")
    expect(box).to_have_value("target ")
    box.press_sequentially("== 3 and not disc")
    expect(offered.get_by_role("option").first).to_contain_text("discarded")
    box.press("ArrowDown")
    box.press("Enter")
    expect(box).to_have_value(re.compile("target == 3 and not discarded *"))
    box.press("Enter")

    async def matched(api: Api) -> int:
        return (await query(api, "target == 3 and not discarded", limit=1)).matched

    expect(page.get_by_test_id("count-matched")).to_have_attribute("data-value", str(with_api(studio, matched)))


def test_the_view_lives_in_the_address(page: Page) -> None:
    filter_by(page, 'split == "val"')
    expect(page.get_by_test_id("count-matched")).to_have_attribute("data-value", "360")
    page.reload()
    expect(page.get_by_test_id("count-matched")).to_have_attribute("data-value", "360")
    expect(page.get_by_test_id("query-input")).to_have_value('split == "val"')
    page.go_back()
    expect(page.get_by_test_id("count-matched")).to_have_attribute("data-value", "1797")


def test_the_batch_slider_turns_pages(page: Page) -> None:
    expect(page.get_by_test_id("batch-start")).to_have_text("1")
    size = page.get_by_test_id("grid-cell").count()
    page.get_by_test_id("batch-slider").focus()
    page.get_by_test_id("batch-slider").press("End")
    expect(page.get_by_test_id("batch-end")).to_have_text("1,797")
    assert 1 <= page.get_by_test_id("grid-cell").count() <= size
    page.get_by_test_id("batch-slider").press("Home")
    expect(page.get_by_test_id("batch-start")).to_have_text("1")


def test_the_painter_makes_one_edit_per_stroke(studio: Studio, page: Page) -> None:
    tag = f"painted {uuid.uuid4().hex[:6]}"
    page.get_by_test_id("tag-new").fill(tag)
    page.get_by_test_id("tag-add").click()
    page.get_by_test_id("painter-toggle").click()
    page.locator(f'[data-testid="tag-chip"][data-tag="{tag}"]').get_by_role("button").first.click()
    expect(page.get_by_test_id("painter-mode")).to_have_attribute("data-mode", "add")

    async def edits(api: Api) -> list[tuple[int, int]]:
        reply = await api.samples.list_edits(ListEditsRequest(experiment=EXPERIMENT, limit=1000, newest_first=True))
        return [(edit.operation, edit.changed_count) for edit in reply.edits if edit.tag == tag]

    before = with_api(studio, edits)
    boxes = [cell(page, number).bounding_box() for number in (0, 1, 2, 3)]
    start, *rest = [(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2) for box in boxes if box]
    page.mouse.move(*start)
    page.mouse.down()
    for x, y in rest:
        page.mouse.move(x, y, steps=6)
    page.mouse.up()
    wait_until(lambda: len(with_api(studio, edits)) == len(before) + 1, what="the stroke is one edit")
    assert with_api(studio, edits)[0] == (EditOperation.ADD_TAG, 4)
    page.get_by_test_id("painter-toggle").click()


@pytest.mark.parametrize("tag", ["<img src=x onerror=alert(1)>", 'a,b "c" \\ `d`', "日本 tag:z", "discarded"])
def test_odd_tags_are_shown_verbatim_and_mean_nothing(studio: Studio, page: Page, tag: str) -> None:
    async def discarded(api: Api) -> int:
        return (await query(api, "discarded", limit=1)).matched

    discarded_before = with_api(studio, discarded)
    uid = uid_of(cell(page, 5))
    cell(page, 5).click()
    cell(page, 5).click(button="right")
    page.get_by_test_id("menu-tags").click()
    page.get_by_test_id("tag-manager-new").fill(tag)
    page.get_by_test_id("tag-manager-new").press("Enter")
    expect(page.get_by_test_id("tag-row").filter(has_text=tag)).to_contain_text("1 of 1")
    page.keyboard.press("Escape")
    chips = page.get_by_test_id("tag-chip").filter(has_text=tag)
    expect(chips.first).to_be_visible()

    async def members(api: Api) -> tuple[list[str], int]:
        quoted = json.dumps(tag, ensure_ascii=False)
        return (await query(api, f"tag({quoted})")).uids, (await query(api, "discarded", limit=1)).matched

    uids, discarded_count = with_api(studio, members)
    assert uid in uids
    assert discarded_count == discarded_before


def test_the_modal_goes_through_samples_and_zooms(page: Page) -> None:
    uid = uid_of(cell(page, 0))
    following = uid_of(cell(page, 1))
    cell(page, 0).dblclick()
    modal = page.get_by_test_id("modal")
    expect(modal).to_have_attribute("data-uid", uid)
    expect(page.get_by_test_id("modal-image")).to_have_attribute("data-status", "shown")
    zoom = page.get_by_test_id("modal-image").get_attribute("data-zoom")
    page.get_by_test_id("modal-zoom-in").click()
    expect(page.get_by_test_id("modal-image")).not_to_have_attribute("data-zoom", zoom or "")
    page.get_by_test_id("modal-zoom-reset").click()
    expect(page.get_by_test_id("modal-image")).to_have_attribute("data-zoom", zoom or "")
    page.get_by_test_id("modal-meta-search").fill("target")
    expect(page.locator('[data-testid="modal-field"][data-name="target"]')).to_be_visible()
    page.get_by_test_id("modal-next").click()
    expect(modal).to_have_attribute("data-uid", following)
    page.keyboard.press("Escape")
    expect(modal).to_have_count(0)


def test_an_export_holds_every_point_with_its_branch(studio: Studio, page: Page, tmp_path: Path) -> None:
    rest(studio, page)
    card = page.locator('[data-testid="plot-card"][data-signal="train/loss"]')

    stored = with_api(studio, stored_points)
    card.hover()
    for kind in ("csv", "json"):
        with page.expect_download() as download:
            card.get_by_test_id(f"plot-{kind}").click()
        path = tmp_path / f"points.{kind}"
        download.value.save_as(path)
        text = path.read_text()
        if kind == "csv":
            rows = list(csv.DictReader(io.StringIO(text)))
            assert len(rows) == stored
            assert "main" in {row["branch"] for row in rows}
        else:
            assert '"main"' in text
            json.loads(text)


def test_loading_a_checkpoint_and_resuming_makes_a_branch(studio: Studio, page: Page) -> None:
    page.get_by_test_id("checkpoint").first.wait_for()
    page.get_by_test_id("header-pause").click()
    expect(page.get_by_test_id("state-pill")).to_have_attribute("data-state", "paused")
    branches = len(with_api(studio, status).branches)
    checkpoint = page.get_by_test_id("checkpoint").last
    step = int(checkpoint.get_attribute("data-step") or -1)
    parent = checkpoint.get_attribute("data-branch")
    checkpoint.get_by_test_id("checkpoint-load").click()
    wait_until(lambda: with_api(studio, status).loaded_step == step, what=f"step {step} is loaded")
    assert len(with_api(studio, status).branches) == branches, "loading alone made a branch"
    page.get_by_test_id("header-pause").click()
    wait_until(lambda: len(with_api(studio, status).branches) == branches + 1, what="the resume makes a branch")
    newest = with_api(studio, status).branches[-1]
    assert (newest.parent_branch, newest.parent_step) == (parent, step)
    expect(page.get_by_test_id("branch")).to_contain_text(newest.name)


def test_a_lost_gateway_is_told_and_nothing_is_missing_after(studio: Studio, open_page: OpenPage) -> None:
    # The browser itself writes what it could not load into its console.
    page = open_page(tolerated="net::ERR_")
    train(page)
    card = page.locator('[data-testid="plot-card"][data-signal="train/loss"]')
    studio.processes["gateway"].kill()
    banner = page.get_by_test_id("banner")
    expect(banner).to_have_attribute("data-missing", "gateway")
    expect(banner).to_contain_text(re.compile(rf"Check that it runs at {studio.web_url}\. Trying again in \d+ s"))
    expect(page.get_by_test_id("connection")).to_contain_text("Offline")
    page.get_by_test_id("banner-retry").click()
    expect(banner).to_be_visible()
    studio.start_one("gateway")
    expect(page.get_by_test_id("banner")).to_have_count(0)
    page.get_by_test_id("header-pause").click()
    expect(page.get_by_test_id("state-pill")).to_have_attribute("data-state", "paused")

    wait_until(
        lambda: int(card.get_attribute("data-points") or 0) == with_api(studio, stored_points),
        what="the plot holds what the ledger holds",
    )


def test_a_stranger_is_asked_for_the_token(browser: Browser, studio: Studio) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(studio.page_url)
    page.get_by_test_id("login-token").fill("wrong")
    page.get_by_test_id("login-submit").click()
    expect(page.get_by_test_id("login-error")).to_contain_text("token")
    page.get_by_test_id("login-token").fill(TOKEN)
    page.get_by_test_id("login-submit").click()
    page.get_by_test_id("grid-cell").first.wait_for()
    # Another tab of the same browser needs no login.
    tab = context.new_page()
    tab.goto(studio.page_url)
    tab.get_by_test_id("grid-cell").first.wait_for()
    context.close()


def test_a_login_link_works_once(browser: Browser, studio: Studio) -> None:
    link = studio.login_url
    for attempt, expected in enumerate(("grid-cell", "login")):
        context = browser.new_context()
        page = context.new_page()
        page.goto(link)
        page.get_by_test_id(expected).first.wait_for()
        assert "login=" not in page.url, f"attempt {attempt}: the code stays in the address"
        context.close()


def test_a_viewer_sees_no_controls_that_change_the_run(browser: Browser, studio: Studio) -> None:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.goto(studio.page_url)
    page.get_by_test_id("login-token").fill(VIEWER_TOKEN)
    page.get_by_test_id("login-submit").click()
    page.get_by_test_id("grid-cell").first.wait_for()
    edits = (
        "header-pause",
        "header-mode",
        "hp-input",
        "tag-new",
        "painter-toggle",
        "checkpoint-save",
        "checkpoint-load",
    )
    for control in edits:
        expect(page.get_by_test_id(control)).to_have_count(0)
    expect(page.get_by_test_id("role")).to_be_visible()
    expect(page.get_by_test_id("hp-value").first).not_to_be_empty()
    active = number_of(page, "count-active")
    # Neither a key nor a menu edits: what is left of the menu only shows.
    cell(page, 0).click()
    page.keyboard.press("Delete")
    page.keyboard.press("t")
    expect(page.get_by_role("dialog")).to_have_count(0)
    cell(page, 0).click(button="right")
    expect(page.get_by_role("menuitem")).to_have_text(["OpenEnter"])
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("modal-image")).to_have_attribute("data-status", "shown")
    expect(page.get_by_test_id("modal-discard")).to_have_count(0)
    expect(page.get_by_test_id("modal-tag-input")).to_have_count(0)
    assert number_of(page, "count-active") == active
    context.close()
