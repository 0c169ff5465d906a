"""A curve of more than a million points: its count, its extremes, and what a zoom fetches of it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, expect
from weightslab_common.columns import F64, unpack
from weightslab_proto.weightslab.v1 import CurveKey, GetCurvesRequest, ListSignalsRequest, Mode

from tests.e2e.conftest import ACTION_TIMEOUT_MS
from tests.e2e.hands import cell
from tests.support.background import with_api
from tests.support.main_job import LOSS
from tests.support.processes import wait_until
from tests.support.studio import EXPERIMENT, Api, Studio
from tests.support.written_run import WrittenRun

pytestmark = [pytest.mark.timeout(300)]

POINTS = 1_200_000
# Higher than all else by far, for one step only.
SPIKE_STEP, SPIKE = 777_777, 50.0


def _values() -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """A loss (steps,) between 0 and 3 with a spike of one step."""
    steps = np.arange(POINTS)
    values = 1 + np.exp(-steps / 2e5) + np.random.default_rng(3).uniform(-0.5, 0.5, POINTS)
    values[SPIKE_STEP] = SPIKE
    return values


@pytest.fixture(scope="module")
def long_studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A studio whose ledger holds the long curve."""
    studio = Studio(tmp_path_factory.mktemp("long"))

    async def stored(api: Api) -> bool:
        curves = (await api.signals.list_signals(ListSignalsRequest(experiment=EXPERIMENT))).curves
        return [curve.point_count for curve in curves] == [POINTS]

    try:
        for name in ("nats", "store", "ledger", "gateway", "ui"):
            studio.start_one(name)
        run = WrittenRun(studio)
        run.fill(40, {"main": _values()})
        wait_until(studio.ready, what="the studio is ready")
        wait_until(lambda: with_api(studio, stored), what="the ledger holds every point")
        yield studio
        run.close()
    except BaseException:
        print(studio.logs())
        raise
    finally:
        studio.stop()


@pytest.fixture
def card(browser: Browser, long_studio: Studio) -> Iterator[Locator]:
    context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme="dark")
    context.set_default_timeout(ACTION_TIMEOUT_MS)
    page = context.new_page()
    page.goto(long_studio.login_url)
    cell(page, 0).wait_for()
    card = page.locator(f'[data-testid="plot-card"][data-signal="{LOSS}"]')
    expect(card).to_have_attribute("data-points", str(POINTS))
    # Raw: a smooth curve is drawn over a faint raw one otherwise.
    page.get_by_test_id("plots-smoothing").fill("0")
    yield card
    context.close()


def _inked_columns(card: Locator, *, above: float) -> list[float]:
    """Where something of the curve's colour is drawn in the upper part of the plot, as fractions of its width."""
    found = card.locator("canvas").first.evaluate(
        """(canvas, {above, color}) => {
            const over = canvas.parentElement.querySelector('.u-over');
            const ratio = devicePixelRatio;
            const [left, top] = [over.offsetLeft, over.offsetTop].map(place => Math.round(place * ratio));
            const [width, height] = [over.clientWidth, over.clientHeight].map(size => Math.round(size * ratio));
            const { data } = canvas.getContext('2d').getImageData(left, top, width, Math.floor(height * above));
            const wanted = [1, 3, 5].map(at => parseInt(color.slice(at, at + 2), 16));
            const columns = new Set();
            for (let i = 0; i < data.length; i += 4)
                if (wanted.every((part, at) => Math.abs(data[i + at] - part) < 40)) columns.add((i / 4) % width);
            return [...columns].map(column => column / width);
        }""",
        {"above": above, "color": _color(card)},
    )
    return sorted(map(float, found))


def _color(card: Locator) -> str:
    style = card.locator(".plot-swatch").first.get_attribute("style") or ""
    found = re.search("#[0-9a-f]{6}", style)
    assert found, style
    return found[0]


def test_a_million_points_are_counted_and_their_spike_is_drawn_where_it_is(card: Locator) -> None:
    expect(card.get_by_test_id("plot-reduced")).to_have_text(re.compile(r"^\d,\d{3} of 1\.2 M$"))
    place = SPIKE_STEP / (POINTS - 1)

    def drawn_once() -> bool:
        columns = _inked_columns(card, above=0.5)
        return bool(columns) and all(abs(column - place) < 0.02 for column in columns)

    wait_until(drawn_once, what="only the spike reaches into the upper half")


def test_a_zoom_fetches_finer_points_down_to_single_steps(long_studio: Studio, card: Locator) -> None:
    page = card.page
    card.get_by_test_id("plot-canvas").focus()
    box = card.locator(".u-over").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * SPIKE_STEP / (POINTS - 1), box["y"] + box["height"] / 2)
    held = card.get_by_test_id("plot-reduced")
    whole = held.inner_text()
    # A part of the curve: still a reduction, but another one, and the spike is still in it.
    with page.expect_response(lambda response: "GetCurves" in response.url):
        page.mouse.wheel(0, -1000)
    expect(held).not_to_have_text(whole)
    expect(held).to_have_text(re.compile(r" of 1\.2 M$"))
    wait_until(lambda: len(_inked_columns(card, above=0.5)) > 0, what="the spike is still drawn")
    # Less than what the plot asks for at once: every point.
    for _ in range(4):
        page.mouse.wheel(0, -1000)
    expect(held).to_have_count(0)
    shown = int(card.get_attribute("data-points") or 0)
    assert 20 < shown < 20_000

    # The keys go from point to point, and so from step to step.
    page.mouse.move(5, 5)
    step_read = card.locator(".plot-hairline:visible .plot-step")
    expect(step_read).to_have_count(0)
    page.keyboard.press("ArrowRight")
    step = int(step_read.inner_text().replace(",", ""))
    for _ in range(3):
        step += 1
        page.keyboard.press("ArrowRight")
        expect(step_read).to_have_text(f"{step:,}")
    value = float(card.locator(".plot-legend-value").inner_text())

    async def stored(api: Api) -> list[float]:
        key = CurveKey(branch="main", signal=LOSS, mode=Mode.TRAIN)
        request = GetCurvesRequest(experiment=EXPERIMENT, keys=[key], first_step=step, last_step=step, budget=4)
        [curve] = (await api.signals.get_curves(request)).curves
        return list(unpack(curve.values, F64, name="values"))

    assert with_api(long_studio, stored) == [pytest.approx(value, rel=1e-3)]
    card.get_by_test_id("plot-reset").click()
    expect(held).to_have_text(whole)
