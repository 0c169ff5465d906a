"""What a person does on the page, as short functions."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, Page, expect
from weightslab_proto.weightslab.v1 import CurveKey, ExportPointsRequest, ListSignalsRequest, Mode

from tests.support.background import with_api
from tests.support.main_job import LOSS, status
from tests.support.processes import wait_until
from tests.support.studio import EXPERIMENT, Api, Studio


def train(page: Page) -> None:
    """Let the training run, and wait until the page says so, whatever a test before has left."""
    mode = page.get_by_test_id("header-mode")
    if mode.get_attribute("data-mode") == "AUDIT":
        page.get_by_test_id("mode-train").click()
        expect(mode).to_have_attribute("data-mode", "TRAIN")
    pill = page.get_by_test_id("state-pill")
    expect(pill).to_have_attribute("data-state", re.compile("running|paused"))
    if pill.get_attribute("data-state") == "paused":
        page.get_by_test_id("header-pause").click()
    expect(pill).to_have_attribute("data-state", "running")


def pause(page: Page) -> None:
    """Pause the training, and wait until the page says so."""
    page.get_by_test_id("header-pause").click()
    expect(page.get_by_test_id("state-pill")).to_have_attribute("data-state", "paused")


def rest(studio: Studio, page: Page) -> None:
    """Pause, and wait until the ledger has stored the last step: from then on nothing moves."""
    pause(page)

    async def stored(api: Api) -> bool:
        now = await status(api)
        curves = (await api.signals.list_signals(ListSignalsRequest(experiment=EXPERIMENT))).curves
        key = CurveKey(branch=now.branch, signal=LOSS, mode=Mode.TRAIN)
        return all(curve.last_step == now.step - 1 for curve in curves if curve.key == key)

    wait_until(lambda: with_api(studio, stored), what="the ledger has the last step")


async def stored_points(api: Api) -> int:
    """Raw points of the loss that the ledger exports, over all branches and modes."""
    curves = (await api.signals.list_signals(ListSignalsRequest(experiment=EXPERIMENT))).curves
    keys = [curve.key for curve in curves if curve.key.signal == LOSS]
    request = ExportPointsRequest(experiment=EXPERIMENT, keys=keys)
    return sum([len(chunk.steps) // 8 async for chunk in api.signals.export_points(request)])


def cell(page: Page, number: int) -> Locator:
    return page.get_by_test_id("grid-cell").nth(number)


def uid_of(cell: Locator) -> str:
    uid = cell.get_attribute("data-uid")
    assert uid is not None
    return uid


def uids_of(page: Page) -> list[str]:
    """The uids on the screen, in order."""
    return [uid_of(cell) for cell in page.get_by_test_id("grid-cell").all()]


def filter_by(page: Page, text: str) -> None:
    """Accept a query and wait until its page is there."""
    page.get_by_test_id("query-input").fill(text)
    page.get_by_test_id("query-input").press("Enter")
    expect(page.get_by_test_id("grid-pane")).to_have_attribute("aria-busy", "false")


def center_of(part: Locator) -> tuple[float, float]:
    box = part.bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def drag(page: Page, *places: tuple[float, float]) -> None:
    """Hold the left button through all places."""
    page.mouse.move(*places[0])
    page.mouse.down()
    for x, y in places[1:]:
        page.mouse.move(x, y, steps=6)
    page.mouse.up()


def number_of(page: Page, test_id: str) -> int:
    value = page.get_by_test_id(test_id).get_attribute("data-value")
    assert value is not None
    return int(value)
