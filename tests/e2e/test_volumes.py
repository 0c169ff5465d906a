"""Volumes, masks over images, and names that would be code if the page took them for it."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from tests.e2e.conftest import ACTION_TIMEOUT_MS
from tests.e2e.hands import cell, filter_by
from tests.support import scenes, volumes_run
from tests.support.processes import wait_until
from tests.support.running import running_studio
from tests.support.studio import Studio

pytestmark = [pytest.mark.timeout(300)]

PICTURES = Path(__file__).parent / "output"


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A studio whose trainer is the run on volumes."""
    command = [sys.executable, "-m", volumes_run.__name__]
    with running_studio(tmp_path_factory.mktemp("volumes"), trainer=command) as studio:
        yield studio


@pytest.fixture
def volume_page(browser: Browser, volumes: Studio) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(ACTION_TIMEOUT_MS)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("dialog", lambda dialog: errors.append(f"a name was run as code: {dialog.message}"))
    page.goto(volumes.login_url)
    cell(page, 0).wait_for()
    yield page
    context.close()
    assert errors == []


def _open(page: Page) -> Locator:
    cell(page, 0).dblclick()
    image = page.get_by_test_id("modal-image")
    expect(image).to_have_attribute("data-status", "shown")
    return image


def _color(image: Locator, x: float, y: float) -> tuple[int, int, int]:
    """What is seen at a place of the open volume, given as fractions of the square image."""
    box = image.bounding_box()
    assert box is not None
    side = min(box["width"], box["height"])
    left = box["x"] + (box["width"] - side) / 2 + x * side
    top = box["y"] + (box["height"] - side) / 2 + y * side
    picture = image.page.screenshot(clip={"x": left, "y": top, "width": 1, "height": 1})
    pixel = Image.open(io.BytesIO(picture)).convert("RGB").getpixel((0, 0))
    assert isinstance(pixel, tuple)
    return pixel[0], pixel[1], pixel[2]


HIT = (44, 165, 141)


def _near(seen: tuple[int, int, int], color: tuple[int, int, int]) -> bool:
    return max(abs(a - b) for a, b in zip(seen, color, strict=True)) <= 3


# Places of the squares of class 1 and 2, near their edges, and of the background.
INK, OTHER, BARE = (0.18, 0.18), (0.81, 0.81), (0.9, 0.1)


def test_slice_k_of_the_page_is_slice_k_of_the_volume(volume_page: Page) -> None:
    image = _open(volume_page)
    slider = volume_page.get_by_test_id("modal-slice")
    for number in range(1, volumes_run.SLICES):
        if number % 2:
            volume_page.keyboard.press("ArrowUp")
        else:
            slider.fill(str(number))
            volume_page.get_by_test_id("modal").focus()
        expect(slider).to_have_value(str(number))
        expected = round(number / 10 * 255)
        wait_until(
            lambda: abs(_color(image, *BARE)[0] - expected) <= 3,  # noqa: B023 -- called before the next turn
            what=f"slice {number} is shown",
        )


def test_the_ground_truth_lies_over_the_image_by_class(volume_page: Page) -> None:
    volume_page.get_by_test_id("overlay-gt").click()
    expect(cell(volume_page, 0)).to_have_attribute("data-mask", "shown")
    expect(volume_page.get_by_test_id("class-toggle")).to_have_count(2)
    volume_page.locator('[data-testid="class-color"][data-class="1"]').fill("#ff0000")
    volume_page.get_by_test_id("overlay-opacity").fill("1")
    volume_page.get_by_test_id("overlay-contour").uncheck()

    image = _open(volume_page)
    expect(image).to_have_attribute("data-mask", "true")
    assert _color(image, *INK) == (255, 0, 0)
    assert _color(image, *BARE) == (0, 0, 0)
    assert _color(image, *OTHER) == (0, 0, 0)
    volume_page.get_by_test_id("modal-slice").fill("4")
    wait_until(lambda: _color(image, *OTHER) not in ((0, 0, 0), (102, 102, 102)), what="class 2 begins at slice 3")
    # Split view keeps the left half bare.
    volume_page.get_by_test_id("modal").focus()
    volume_page.keyboard.press("5")
    wait_until(lambda: _color(image, *INK)[0] < 255, what="the left half is bare")
    assert _color(image, *OTHER) != (102, 102, 102)
    volume_page.keyboard.press("1")
    expect(image).to_have_attribute("data-mask", "false")
    volume_page.keyboard.press("2")
    volume_page.keyboard.press("5")
    volume_page.keyboard.press("Escape")

    assert "overlay=gt" in volume_page.url
    volume_page.locator('[data-testid="class-toggle"][data-class="1"]').uncheck()
    image = _open(volume_page)
    expect(image).to_have_attribute("data-mask", "true")
    assert _color(image, *INK) != (255, 0, 0)


def test_boxes_have_their_class_and_confidence(volume_page: Page) -> None:
    filter_by(volume_page, 'split == "spots"')
    expect(volume_page.get_by_test_id("count-matched")).to_have_attribute("data-value", str(volumes_run.SPOT_COUNT))
    volume_page.get_by_test_id("overlay-gt").click()
    volume_page.get_by_test_id("overlay-opacity").fill("1")
    expect(cell(volume_page, 0)).to_have_attribute("data-mask", "shown")
    image = _open(volume_page)
    _, spot, blot = volumes_run.SPOT_NAMES
    expect(image).to_have_attribute("aria-label", re.compile(re.escape(f", {spot}, {blot}") + "$"))
    volume_page.keyboard.press("3")
    expect(image).to_have_attribute("aria-label", re.compile(re.escape(f", {spot} 0.88, {blot} 0.25") + "$"))
    # The line of the first box is at its place, and what it encloses stays bare.
    assert _color(image, 2 / 24, 8 / 24) != (0, 0, 0)
    assert _color(image, 6 / 24, 8 / 24) == (0, 0, 0)
    # Against the ground truth the box that was found is a hit.
    volume_page.keyboard.press("4")
    expect(image).to_have_attribute("aria-label", re.compile(r"sample \d+$"))
    expect(image).to_have_attribute("data-mask", "true")
    wait_until(lambda: _near(_color(image, 2.5 / 24, 6 / 24), HIT), what="the hit is shown as one")
    volume_page.keyboard.press("3")
    volume_page.keyboard.press("Escape")
    volume_page.locator('[data-testid="class-toggle"][data-class="1"]').uncheck()
    image = _open(volume_page)
    expect(image).to_have_attribute("aria-label", re.compile(re.escape(f", {blot} 0.25") + "$"))


def test_boxes_on_a_cell_have_the_names_of_their_split(volume_page: Page) -> None:
    volume_page.get_by_test_id("overlay-gt").click()
    expect(cell(volume_page, 0)).to_have_attribute("data-mask", "shown")
    filter_by(volume_page, 'split == "spots"')
    expect(volume_page.get_by_test_id("count-matched")).to_have_attribute("data-value", str(volumes_run.SPOT_COUNT))
    volume_page.get_by_test_id("cell-size").fill("240")
    volume_page.get_by_test_id("details-apply").click()
    volume_page.locator('[data-testid="class-color"][data-class="1"]').fill("#ff0000")
    _, spot, blot = volumes_run.SPOT_NAMES
    boxes = cell(volume_page, 0).get_by_role("img")
    expect(boxes).to_have_accessible_name(f"{spot}, {blot}")
    # The panel says what either split calls the class.
    expect(volume_page.get_by_text(f"{volumes_run.CLASS_NAMES[1]} · {spot}", exact=True)).to_be_visible()
    # Above the first box, where the image is black, is the ground of its name.
    wait_until(lambda: _near(_color(boxes, 2.08 / 24, 1.5 / 24), (255, 0, 0)), what="the name is written")
    assert _color(boxes, 6 / 24, 8 / 24) == (0, 0, 0), "what a box encloses stays bare"


def test_a_prediction_is_compared_with_the_ground_truth(volume_page: Page) -> None:
    volume_page.get_by_test_id("overlay-pred").click()
    expect(cell(volume_page, 0)).to_have_attribute("data-mask", "shown")
    volume_page.get_by_test_id("overlay-diff").click()
    for verdict in ("true positive", "false positive", "false negative", "confused class"):
        expect(volume_page.get_by_test_id("card-details")).to_contain_text(verdict)
    volume_page.get_by_test_id("overlay-opacity").fill("1")
    image = _open(volume_page)
    expect(image).to_have_attribute("data-mask", "true")
    # Whatever the model sees there by now, the square is a hit, a miss or another class.
    seen = _color(image, *INK)
    assert any(_near(seen, verdict) for verdict in (HIT, (79, 124, 255), (242, 164, 43))), seen


@pytest.mark.parametrize(("split", "overlay", "theme"), [("scenes", "diff", "dark"), ("objects", "pred", "light")])
def test_pictures_of_overlays(volume_page: Page, split: str, overlay: str, theme: str) -> None:
    volume_page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    volume_page.get_by_test_id("cell-size").fill("200")
    volume_page.get_by_test_id("details-apply").click()
    filter_by(volume_page, f'split == "{split}"')
    expect(volume_page.get_by_test_id("count-matched")).to_have_attribute("data-value", str(scenes.COUNT))
    volume_page.get_by_test_id(f"overlay-{overlay}").click()
    cells = volume_page.get_by_test_id("grid-cell")
    expect(cells.locator("xpath=self::*[not(@data-mask='shown') or not(@data-image='shown')]")).to_have_count(0)
    volume_page.get_by_test_id("grid-pane").screenshot(path=PICTURES / f"overlays-{overlay}.png", animations="disabled")


def test_hostile_names_are_shown_verbatim(volume_page: Page) -> None:
    card = volume_page.locator('[data-testid="plot-card"]').filter(has_text=volumes_run.SIGNAL)
    expect(card.first).to_be_visible()
    field = volume_page.locator('[data-testid="field-toggle"]').and_(
        volume_page.locator(f"[data-field='{volumes_run.METADATA}']")
    )
    field.check()
    expect(cell(volume_page, 0)).to_contain_text("<script>alert(")
    volume_page.keyboard.press("2")
    expect(volume_page.get_by_text(volumes_run.CLASS_NAMES[1], exact=True)).to_be_visible()
    volume_page.get_by_test_id("distribution-column").select_option(label=volumes_run.METADATA)
    volume_page.get_by_test_id("category").first.click()
    matched = volume_page.get_by_test_id("count-matched")
    expect(matched).to_have_attribute("data-value", re.compile("^1[0-9]$"))
