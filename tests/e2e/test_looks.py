"""Ten states of the page in both themes and two sizes: pictures to be looked at, and no fault that axe knows of."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
import weightslab_ui
from playwright.sync_api import Browser, Page, expect

from tests.e2e.conftest import ACTION_TIMEOUT_MS
from tests.e2e.hands import cell, center_of, drag, filter_by, train
from tests.support.studio import Studio

pytestmark = [pytest.mark.timeout(300)]

PICTURES = Path(__file__).parent / "output" / "looks"
WEB = Path(__file__).parents[2] / "services" / "ui" / "web"
AXE = WEB / "node_modules" / "axe-core" / "axe.min.js"
PAGE = Path(weightslab_ui.__file__).parent / "page"
MAX_SCRIPT_BYTES = 120_000

State = Callable[[Page], None]


def _start(page: Page) -> None:
    expect(page.get_by_test_id("plot-card").first).to_be_visible()


def _sorted(page: Page) -> None:
    filter_by(page, 'split == "train" and not discarded')
    page.get_by_role("button", name="Sort", exact=True).click()
    page.get_by_test_id("sort-add").select_option(label="train/loss")


def _refused(page: Page) -> None:
    page.keyboard.press("Escape")
    page.get_by_test_id("query-input").fill("loss > and")
    page.get_by_test_id("query-input").press("Enter")
    expect(page.get_by_test_id("query-error")).to_be_visible()


def _selected(page: Page) -> None:
    page.get_by_test_id("query-input").press("Escape")
    drag(page, center_of(cell(page, 0)), center_of(cell(page, 4)))
    expect(page.get_by_test_id("selection-bar")).to_be_visible()


def _menu(page: Page) -> None:
    cell(page, 2).click(button="right")
    expect(page.get_by_test_id("context-menu")).to_be_visible()


def _tags(page: Page) -> None:
    page.keyboard.press("Escape")
    page.keyboard.press("t")
    expect(page.get_by_test_id("tag-manager-new")).to_be_visible()


def _modal(page: Page) -> None:
    page.keyboard.press("Escape")
    cell(page, 1).dblclick()
    expect(page.get_by_test_id("modal-image")).to_have_attribute("data-status", "shown")


def _palette(page: Page) -> None:
    page.keyboard.press("Escape")
    page.keyboard.press("Control+k")
    expect(page.get_by_test_id("palette-input")).to_be_visible()


def _refresh(page: Page) -> None:
    page.keyboard.press("Escape")
    page.get_by_test_id("refresh-settings").click()
    expect(page.get_by_test_id("refresh-settings-panel")).to_be_visible()


def _large_plot(page: Page) -> None:
    page.keyboard.press("Escape")
    card = page.locator('[data-testid="plot-card"][data-signal="train/loss"]')
    card.hover()
    card.get_by_test_id("plot-full").click()
    card.get_by_test_id("plot-settings").click()


STATES: dict[str, State] = {
    "start": _start,
    "sorted": _sorted,
    "refused": _refused,
    "selected": _selected,
    "menu": _menu,
    "tags": _tags,
    "modal": _modal,
    "palette": _palette,
    "refresh": _refresh,
    "large-plot": _large_plot,
}


def _faults(page: Page) -> list[str]:
    """What axe finds, as sentences."""
    # By the debugger's protocol: the page's own policy allows no foreign script.
    page.evaluate(AXE.read_text())
    found = page.evaluate(
        # A context menu lies over all regions and belongs to none.
        "axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice'],"
        " rules: {region: {enabled: false}}})"
        ".then(result => result.violations.map(one => [one.id, one.nodes.map(node => node.html).slice(0, 3)]))"
    )
    return [f"{rule}: {nodes}" for rule, nodes in found]


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("size", [(1440, 900), (1024, 768)], ids=["large", "small"])
def test_ten_states_look_right_and_can_be_used_by_all(
    browser: Browser, studio: Studio, theme: str, size: tuple[int, int]
) -> None:
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if theme == "dark" else "light",
        reduced_motion="reduce",
    )
    context.set_default_timeout(ACTION_TIMEOUT_MS)
    page = context.new_page()
    page.goto(studio.login_url)
    cell(page, 0).wait_for()
    train(page)
    PICTURES.mkdir(parents=True, exist_ok=True)
    faults: list[str] = []
    for name, enter in STATES.items():
        enter(page)
        expect(page.locator('[data-testid="grid-cell"]:not([data-image="shown"])')).to_have_count(0)
        page.screenshot(path=PICTURES / f"{name}-{theme}-{size[0]}.png", animations="disabled")
        faults += [f"{name}: {fault}" for fault in _faults(page)]
        moving = page.evaluate("document.getAnimations().filter(one => one.effect.getTiming().duration > 1).length")
        assert moving == 0, f"{name}: something moves although less motion is wished"
        overflow = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert overflow <= 0, f"{name}: the page is {overflow} px wider than the window"
    context.close()
    assert not faults, "\n".join(faults)


def test_all_scripts_of_the_page_stay_within_their_budget() -> None:
    scripts = list(PAGE.rglob("*.js"))
    assert scripts
    assert sum(len(gzip.compress(script.read_bytes(), 9)) for script in scripts) <= MAX_SCRIPT_BYTES
