"""What can be done with a plot, by mouse and keys; what came of it is read from the server or from the pixels."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, Request, expect
from weightslab_common.columns import F64, unpack
from weightslab_proto.weightslab.v1 import CurveKey, GetSliceCurvesRequest, GetStepSamplesRequest, Mode, Slice

from tests.e2e.hands import cell, center_of, drag, number_of, rest, train
from tests.support.background import with_api
from tests.support.main_job import status
from tests.support.processes import wait_until
from tests.support.studio import EXPERIMENT, Api, Studio

pytestmark = [pytest.mark.timeout(300)]

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def card(studio: Studio, page: Page) -> Locator:
    """The plot of the training loss, at rest."""
    rest(studio, page)
    card = page.locator('[data-testid="plot-card"][data-signal="train/loss"]')
    wait_until(lambda: int(card.get_attribute("data-points") or 0) > 0, what="the curve is drawn")
    return card


def _over(card: Locator) -> Locator:
    return card.locator(".u-over")


def _pixels(card: Locator) -> str:
    """What is drawn, as text that is equal when all pixels are."""
    return str(card.locator("canvas").first.evaluate("canvas => canvas.toDataURL()"))


def _menu(card: Locator, item: str, *, at: float = 0.95) -> Locator:
    """Open the menu of the plot at a fraction of its width and return one of its items."""
    box = _over(card).bounding_box()
    assert box is not None
    _over(card).click(button="right", position={"x": box["width"] * at, "y": box["height"] / 2})
    return card.page.get_by_test_id(f"plot-menu-{item}")


def _zoom_both(card: Locator) -> None:
    x, y = center_of(_over(card))
    drag(card.page, (x - 60, y - 15), (x + 60, y + 15))
    expect(card).to_have_attribute("data-zoomed", "true")


def test_a_drag_zooms_and_each_reset_takes_back_its_axis(card: Locator) -> None:
    whole = _pixels(card)
    _zoom_both(card)
    card.page.mouse.move(5, 5)
    zoomed = _pixels(card)
    assert zoomed != whole
    _menu(card, "reset-x").click()
    _menu(card, "reset-y").click()
    expect(card).to_have_attribute("data-zoomed", "false")
    _zoom_both(card)
    _menu(card, "reset-all").click()
    expect(card).to_have_attribute("data-zoomed", "false")
    _zoom_both(card)
    card.get_by_test_id("plot-reset").click()
    expect(card).to_have_attribute("data-zoomed", "false")


def test_the_wheel_and_the_keys_zoom(card: Locator) -> None:
    canvas = card.get_by_test_id("plot-canvas")
    canvas.focus()
    card.page.keyboard.press("+")
    expect(card).to_have_attribute("data-zoomed", "true")
    card.page.keyboard.press("0")
    expect(card).to_have_attribute("data-zoomed", "false")
    card.page.mouse.move(*center_of(_over(card)))
    card.page.mouse.wheel(0, -300)
    expect(card).to_have_attribute("data-zoomed", "true")
    _over(card).dblclick()
    expect(card).to_have_attribute("data-zoomed", "false")


def test_a_curve_gets_another_colour_and_keeps_it(card: Locator) -> None:
    _menu(card, "color").click()
    card.page.get_by_test_id("plot-setting-color").first.fill("#ff00aa")
    card.page.keyboard.press("Escape")
    swatch = card.locator('.plot-swatch[style*="#ff00aa"]')
    expect(swatch).to_have_count(1)
    card.page.reload()
    expect(swatch).to_have_count(1)


def test_a_curve_is_hidden_and_shown_again(card: Locator) -> None:
    entries = card.get_by_test_id("plot-legend-entry")
    shown = entries.evaluate_all("all => all.filter(one => one.ariaPressed === 'true').length")
    _menu(card, "hide").click()
    hidden = card.locator('[data-testid="plot-legend-entry"][aria-pressed="false"]')
    expect(hidden).to_have_count(1)
    card.page.reload()
    expect(hidden).to_have_count(1)
    _menu(card, "show").click()
    expect(hidden).to_have_count(0)
    assert entries.evaluate_all("all => all.filter(one => one.ariaPressed === 'true').length") == shown


@pytest.mark.parametrize("setting", ["markers", "logX", "logY"])
def test_a_check_changes_what_is_drawn(card: Locator, setting: str) -> None:
    before = _pixels(card)
    card.hover()
    card.get_by_test_id("plot-settings").click()
    box = card.page.get_by_test_id(f"plot-setting-{setting}")
    box.click()
    wait_until(lambda: _pixels(card) != before, what=f"{setting} shows")
    box.click()
    card.page.keyboard.press("Escape")


@pytest.mark.parametrize("band", ["std", "minmax"])
def test_a_band_is_drawn(card: Locator, band: str) -> None:
    card.hover()
    card.get_by_test_id("plot-settings").click()
    before = _pixels(card)
    card.page.get_by_test_id("plot-setting-band").select_option(band)
    wait_until(lambda: _pixels(card) != before, what="the band shows")
    card.page.keyboard.press("Escape")


def test_smoothing_changes_the_curve_and_leaves_the_raw_one(card: Locator) -> None:
    card.hover()
    card.get_by_test_id("plot-settings").click()
    slider = card.page.get_by_test_id("plot-setting-smoothing")
    slider.fill("0")
    raw = _pixels(card)
    slider.fill("0.9")
    wait_until(lambda: _pixels(card) != raw, what="the smooth curve shows")


def test_the_picture_of_a_plot_is_copied_and_saved(card: Locator, tmp_path: Path) -> None:
    card.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    with card.page.expect_download() as download:
        _menu(card, "save-image").click()
    download.value.save_as(tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(PNG)
    assert "loss" in download.value.suggested_filename
    _menu(card, "copy-image").click()
    types = "navigator.clipboard.read().then(items => items.flatMap(item => item.types))"
    wait_until(lambda: "image/png" in card.page.evaluate(types), what="the picture is on the clipboard")


def test_a_point_leads_to_the_samples_behind_it(studio: Studio, card: Locator) -> None:
    page = card.page
    item = _menu(card, "samples", at=0.5)
    digits = re.search(r"step ([\d,]+)", item.inner_text())
    assert digits
    step = int(digits[1].replace(",", ""))
    item.click()
    expect(page.get_by_test_id("toast").filter(has_text="samples behind")).to_contain_text("Showing the")

    async def behind(api: Api) -> set[str]:
        newest = (await status(api)).branches
        branch = newest[0].branch if newest else "main"
        key = CurveKey(branch=branch, signal="train/loss", mode=Mode.TRAIN)
        request = GetStepSamplesRequest(experiment=EXPERIMENT, key=key, step=step)
        return {sample.uid for sample in (await api.signals.get_step_samples(request)).samples}

    expected = with_api(studio, behind)
    expect(page.get_by_test_id("count-matched")).to_have_attribute("data-value", str(len(expected)))
    assert number_of(page, "count-total") == 1797


def test_weights_are_loaded_at_the_clicked_step(studio: Studio, card: Locator) -> None:
    page = card.page
    item = _menu(card, "load", at=0.999)
    found = re.search(r"step ([\d,]+)(?: \(saved: ([\d,]+)\))?", item.inner_text())
    assert found, item.inner_text()
    saved = int((found[2] or found[1]).replace(",", ""))
    item.click()
    wait_until(lambda: with_api(studio, status).loaded_step == saved, what=f"step {saved} is loaded")
    expect(page.get_by_test_id("toast").filter(has_text="Loaded step")).to_contain_text(f"{saved:,}")
    branches = len(with_api(studio, status).branches)
    train(page)
    expect(page.get_by_test_id("toast").filter(has_text="Loaded step")).to_have_count(0)
    wait_until(lambda: len(with_api(studio, status).branches) == branches + 1, what="the resume makes a branch")
    # Its curve appears, joined to where it came from.
    expect(card.get_by_test_id("plot-legend-entry")).to_have_count(branches + 1)


def test_plots_are_pinned_found_and_shown_large(card: Locator) -> None:
    page = card.page
    card.hover()
    card.get_by_test_id("plot-pin").click()
    expect(page.locator('[data-testid="plot-group"][data-group="Pinned"]')).to_be_visible()
    page.get_by_test_id("plot-search").fill("accuracy")
    expect(page.get_by_test_id("plot-card")).to_have_count(1)
    page.get_by_test_id("plot-search").fill("")
    card.hover()
    card.get_by_test_id("plot-full").click()
    box = card.bounding_box()
    assert box is not None
    assert box["width"] > 900
    page.keyboard.press("Escape")
    card.hover()
    card.get_by_test_id("plot-pin").click()
    expect(page.locator('[data-testid="plot-group"][data-group="Pinned"]')).to_have_count(0)


def test_all_plots_read_the_same_step(card: Locator) -> None:
    _over(card).hover()
    lines = card.page.locator(".plot-hairline:visible .plot-step")
    expect(lines).to_have_count(card.page.get_by_test_id("plot-card").count())
    assert len(set(lines.all_inner_texts())) == 1


def _count_in_flight(page: Page, call: str) -> list[int]:
    """How many of a call are under way, told anew with each that begins or ends."""
    counts = [0]

    def note(change: int) -> Callable[[Request], None]:
        return lambda request: counts.append(counts[-1] + change) if call in request.url else None

    page.on("request", note(1))
    page.on("requestfinished", note(-1))
    page.on("requestfailed", note(-1))
    return counts


def test_a_curve_is_broken_by_the_tags_of_its_samples(studio: Studio, card: Locator) -> None:
    page = card.page
    tag = f"slice {uuid.uuid4().hex[:6]}"
    cell(page, 0).click()
    page.get_by_test_id("tag-new").fill(tag)
    page.get_by_test_id("tag-add").click()
    expect(page.locator(f'[data-testid="tag-chip"][data-tag="{tag}"]')).to_have_attribute("data-count", "1")
    in_flight = _count_in_flight(page, "GetSliceCurves")
    _menu(card, "slices").click()
    dialog = page.get_by_test_id("slices")
    chip = dialog.locator(f'[data-testid="slice-tag"][data-tag="{tag}"]')
    # The first tags are chosen at once; those of other tests are taken out, so that the legend has room.
    for other in dialog.locator('[data-testid="slice-tag"][aria-pressed="true"]').all_inner_texts():
        if other != tag:
            dialog.get_by_role("button", name=other, exact=True).click()
    if chip.get_attribute("aria-pressed") == "false":
        chip.click()
    legend = dialog.get_by_test_id("plot-legend-entry")
    expect(legend.filter(has_text="all samples").first).to_be_visible()
    expect(legend.filter(has_text=f"{tag} (1)").first).to_be_visible()

    async def of_the_tag(api: Api) -> list[float]:
        request = GetSliceCurvesRequest(
            experiment=EXPERIMENT, signal="train/loss", mode=Mode.TRAIN, slices=[Slice(tags=[tag])]
        )
        curves = (await api.signals.get_slice_curves(request)).curves
        return sorted(float(unpack(curve.means, F64, name="means")[-1]) for curve in curves)

    # A slice is no signal: nothing of it is exported, pinned or set.
    dialog.get_by_role("heading", name="loss").last.hover()
    expect(dialog.get_by_test_id("plot-pin")).to_be_hidden()
    values = legend.filter(has_text=f"{tag} (1)").locator(".plot-legend-value")

    def shown() -> bool:
        # The legend rounds.
        return sorted(map(float, values.all_inner_texts())) == pytest.approx(with_api(studio, of_the_tag), rel=0.02)

    wait_until(shown, what="the last mean of each branch is shown")
    # However quickly one chooses, and however long the ledger takes, it is asked for one thing at a time.
    assert max(in_flight) == 1
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
