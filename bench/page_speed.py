"""What the page costs in a real browser: paint, scrolling a million samples, redrawing long curves, heap, latency.

Run: python bench/page_speed.py [--samples 1000000]   writes page_speed.json beside itself.
     python bench/page_speed.py --heap-after 10        looks through masked samples for 10 minutes, and adds the heap.

Real bus, store, ledger, gateway and host of the page; the trainer's side of the bus is in this process
(tests/support/written_run.py): only the page and its servers are measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import CDPSession, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tests.support.processes import wait_until  # noqa: E402
from tests.support.studio import Studio  # noqa: E402
from tests.support.written_run import WrittenRun  # noqa: E402
from tools import chromium  # noqa: E402

BRANCHES, POINTS = 5, 100_000
LONG_SIGNAL, LONG_POINTS = "val/loss", 1_200_000
PAGES_TURNED, REDRAWS, LIVE_STEPS, ZOOMS = 60, 20, 40, 6
IDLE_SECS = 5
FRAME_MICROSECONDS = 1e6 / 60
TRACED = ["devtools.timeline", "disabled-by-default-devtools.timeline"]
RESULTS = Path(__file__).with_suffix(".json")


def walks(count: int, steps: int) -> dict[str, NDArray[np.float64]]:
    """Random walks (steps,) by branch."""
    values = np.cumsum(np.random.default_rng(1).normal(size=(count, steps)), axis=1)
    return {f"b{branch}": values[branch] for branch in range(count)}


def percentiles(milliseconds: list[float]) -> dict[str, float]:
    return {f"p{percent}_ms": round(float(np.percentile(milliseconds, percent)), 2) for percent in (50, 95)} | {
        "count": len(milliseconds)
    }


SCRIPT_EVENTS = ("FunctionCall", "EvaluateScript", "RunMicrotasks", "FireAnimationFrame", "EventDispatch", "TimerFire")


def script_per_frame(trace: bytes) -> list[float]:
    """Milliseconds of script in each sixtieth of a second of the page's main thread in which any ran."""
    events = [event for event in json.loads(trace)["traceEvents"] if event["name"] in SCRIPT_EVENTS and "dur" in event]
    spent: dict[tuple[int, int], float] = {}
    ends: dict[int, float] = {}
    for event in sorted(events, key=lambda event: float(event["ts"])):
        thread, start = event["tid"], event["ts"]
        # What runs within another event is counted with it.
        if start < ends.get(thread, 0):
            continue
        ends[thread] = start + event["dur"]
        # Time on the processor where it is told: others may use the machine, too.
        duration = event.get("tdur", event["dur"])
        frame = (thread, int(start // FRAME_MICROSECONDS))
        spent[frame] = spent.get(frame, 0.0) + duration / 1000
    return list(spent.values())


def metric(cdp: CDPSession, name: str) -> float:
    metrics = cdp.send("Performance.getMetrics")["metrics"]
    return float(next(one["value"] for one in metrics if one["name"] == name))


def measure_start(page: Page, studio: Studio) -> dict[str, float]:
    """A visit by somebody who is logged in; milliseconds since the navigation began."""
    page.add_init_script(
        """new MutationObserver(() => {
            if (!window.firstImage && document.querySelector('[data-testid=grid-cell][data-image=shown]'))
                window.firstImage = performance.now();
        }).observe(document, {subtree: true, childList: true, attributes: true, attributeFilter: ['data-image']});"""
    )
    page.goto(studio.login_url)
    page.locator('[data-image="shown"]').first.wait_for()
    page.goto(studio.page_url)
    page.locator('[data-image="shown"]').first.wait_for()
    return {
        "first_paint_ms": round(
            page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"), 1
        ),
        "first_thumbnail_ms": round(page.evaluate("window.firstImage"), 1),
    }


def measure_scrolling(page: Page) -> dict[str, float]:
    """Script per frame while the wheel turns pages of the grid."""
    box = page.get_by_test_id("grid").bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    browser = page.context.browser
    assert browser
    browser.start_tracing(page=page, categories=TRACED)
    for _ in range(PAGES_TURNED):
        page.mouse.wheel(0, 240)
        page.wait_for_timeout(80)
    return percentiles(script_per_frame(browser.stop_tracing()))


def measure_redraws(page: Page) -> dict[str, float | str]:
    """Script of the frames that draw all curves anew, with another smoothing each time."""
    browser = page.context.browser
    assert browser
    browser.start_tracing(page=page, categories=TRACED)
    page.evaluate(
        """async (rounds) => {
            const slider = document.querySelector('[data-testid=plots-smoothing]');
            const frame = () => new Promise(requestAnimationFrame);
            for (let round = 0; round < rounds; round++) {
                slider.value = String(0.5 + round / 100);
                slider.dispatchEvent(new Event('input', {bubbles: true}));
                for (let frames = 0; frames < 6; frames++) await frame();
            }
        }""",
        REDRAWS,
    )
    # Most frames only wait; the longest of each round draw.
    return dict(percentiles(sorted(script_per_frame(browser.stop_tracing()))[-REDRAWS:]))


def measure_long_curve(page: Page) -> dict[str, object]:
    """A curve of more than a million points: what is drawn of it, how soon a zoom shows finer points, redraws then."""
    card = page.locator(f'[data-testid="plot-card"][data-signal="{LONG_SIGNAL}"]')
    held = card.get_by_test_id("plot-reduced")
    whole = held.inner_text()
    card.get_by_test_id("plot-canvas").focus()
    for _ in range(ZOOMS):
        page.keyboard.press("+")
    began = time.monotonic()
    card.locator("[data-testid=plot-reduced]", has_not_text=whole).wait_for()
    found: dict[str, object] = {
        "points_drawn": whole,
        "finer_points_after_ms": round((time.monotonic() - began) * 1000),
    }
    found |= {"points_drawn_zoomed": held.inner_text(), "redraw": measure_redraws(page)}
    page.keyboard.press("0")
    return found


def measure_latency(page: Page, run: WrittenRun) -> dict[str, float]:
    """From the publishing of a point until the plot has been drawn with it."""
    page.evaluate(
        """() => {
            window.drawn = [];
            const card = document.querySelector('[data-testid=plot-card]');
            new MutationObserver(() => requestAnimationFrame(() => window.drawn.push(Date.now() / 1000)))
                .observe(card, {attributes: true, attributeFilter: ['data-points']});
        }"""
    )
    taken = []
    for number in range(LIVE_STEPS):
        began = run.step()
        page.wait_for_function("count => window.drawn.length > count", arg=number)
        taken.append((page.evaluate("window.drawn.at(-1)") - began) * 1000)
        page.wait_for_timeout(130)
    return percentiles(taken)


def measure_idle(page: Page) -> int:
    """Requests within seconds in which nothing happens."""
    page.wait_for_timeout(2_500)
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.wait_for_timeout(IDLE_SECS * 1000)
    return len(requests)


def measure_heap(page: Page, run: WrittenRun, *, minutes: float) -> dict[str, float]:
    """What is left of the heap after somebody has looked through masked samples while steps came in."""
    page.get_by_test_id("overlay-gt").click()
    page.locator('[data-testid="grid-cell"][data-mask="shown"]').first.wait_for()
    end = time.monotonic() + 60 * minutes
    turned = 0
    while time.monotonic() < end:
        page.keyboard.press("PageDown")
        run.step()
        page.wait_for_timeout(500)
        turned += 1
    cdp = page.context.new_cdp_session(page)
    cdp.send("Performance.enable")
    cdp.send("HeapProfiler.collectGarbage")
    return {"minutes": minutes, "pages": turned, "heap_mb": round(metric(cdp, "JSHeapUsedSize") / 1e6, 1)}


Measure = Callable[[Page, Studio, WrittenRun], dict[str, object]]


def in_browser(measure: Measure, studio: Studio, run: WrittenRun) -> dict[str, object]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium.find(), args=["--no-sandbox", "--disable-gpu", "--enable-precise-memory-info"]
        )
        page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
        page.set_default_timeout(60_000)
        found = measure(page, studio, run)
        browser.close()
    return found


def speed(page: Page, studio: Studio, run: WrittenRun) -> dict[str, object]:
    found: dict[str, object] = {"start": measure_start(page, studio)}
    page.locator(f'[data-testid="plot-card"][data-points="{BRANCHES * POINTS}"]').wait_for()
    # The page holds a reduction that keeps every spike; how much of it is drawn stands on the plot.
    held = page.get_by_test_id("plot-reduced").first.inner_text()
    found["redraw of 5 curves of 100,000 points"] = measure_redraws(page) | {"points_drawn": held}
    found["a curve of 1,200,000 points"] = measure_long_curve(page)
    found["script per frame while scrolling"] = measure_scrolling(page)
    found["step to pixel"] = measure_latency(page, run)
    found[f"requests in {IDLE_SECS} idle seconds"] = measure_idle(page)
    return found


def heap(minutes: float) -> Measure:
    def measure(page: Page, studio: Studio, run: WrittenRun) -> dict[str, object]:
        measure_start(page, studio)
        return {"heap on a segmentation set": measure_heap(page, run, minutes=minutes)}

    return measure


def main(sample_count: int, measure: Measure) -> None:
    with tempfile.TemporaryDirectory() as folder:
        studio = Studio(Path(folder))
        try:
            for name in ("nats", "store", "ledger", "gateway", "ui"):
                studio.start_one(name)
            run = WrittenRun(studio)
            run.fill(sample_count, walks(BRANCHES, POINTS))
            run.add_curve(LONG_SIGNAL, "b0", walks(1, LONG_POINTS)["b0"])
            wait_until(studio.ready, what="the studio is ready", timeout_secs=60)
            found = in_browser(measure, studio, run)
            run.close()
        finally:
            studio.stop()
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    before = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if measure is not speed:
        # Bytes, not time: they go with the figures of another run.
        RESULTS.write_text(json.dumps(before | found, indent=2) + "\n")
        print(json.dumps(found, indent=2))
        return
    result = before | {
        "date": date.today().isoformat(),
        "machine": machine,
        # Others may work on it: figures are comparable where this is.
        "load_average": round(os.getloadavg()[0], 1),
        "samples": sample_count,
        **found,
    }
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--heap-after", type=float, metavar="MINUTES")
    arguments = parser.parse_args()
    main(arguments.samples, speed if arguments.heap_after is None else heap(arguments.heap_after))
