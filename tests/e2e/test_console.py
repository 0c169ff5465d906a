"""What is typed into the console is seen on every page, and what a page does is seen in the console."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from weightslab.console.client import connected

from tests.e2e.hands import cell, filter_by, number_of, pause, uid_of
from tests.support.background import in_thread
from tests.support.processes import wait_until
from tests.support.studio import Studio

pytestmark = [pytest.mark.timeout(300)]


def _type(studio: Studio, line: str) -> dict[str, Any]:
    async def ask() -> bytes:
        async with connected("localhost", studio.console_port) as client:
            return await client.ask(line)

    reply = json.loads(in_thread(ask))
    assert isinstance(reply, dict)
    assert reply["ok"], reply
    return reply


def test_what_the_console_does_is_seen_on_the_page(studio: Studio, page: Page) -> None:
    pill = page.get_by_test_id("state-pill")
    _type(studio, "p")
    expect(pill).to_have_attribute("data-state", "paused")

    filter_by(page, 'split == "train"')
    uid, active = uid_of(cell(page, 0)), number_of(page, "count-active")
    tag = f"typed {uuid.uuid4().hex[:6]}"
    _type(studio, f"add_tag {uid} '{tag}' --loader train")
    expect(page.locator(f'[data-testid="tag-chip"][data-tag="{tag}"]')).to_contain_text("1")
    _type(studio, f"discard {uid} --loader train")
    expect(cell(page, 0)).to_have_attribute("data-discarded", "true")
    expect(page.get_by_test_id("count-active")).to_have_attribute("data-value", str(active - 1))
    _type(studio, f"undiscard {uid} --loader train")
    expect(cell(page, 0)).to_have_attribute("data-discarded", "false")
    expect(page.get_by_test_id("count-active")).to_have_attribute("data-value", str(active))

    before = _type(studio, "hp optimizer.lr")["hyperparameters"]["optimizer.lr"]["applied"]
    box = page.locator('[data-testid="hp-input"][data-name="optimizer.lr"]')
    _type(studio, "set_hp optimizer lr 0.0125")
    expect(box).to_have_value("0.0125")
    _type(studio, f"set_hp optimizer.lr {before}")
    expect(box).to_have_value(str(before))

    _type(studio, "r")
    expect(pill).to_have_attribute("data-state", "running")


def test_what_the_page_does_is_seen_in_the_console(studio: Studio, page: Page) -> None:
    pause(page)
    assert _type(studio, "status")["run"]["state"] == "paused"
    filter_by(page, 'split == "train"')
    uid = uid_of(cell(page, 1))
    cell(page, 1).click()
    cell(page, 1).click(button="right")
    page.get_by_test_id("menu-discard").click()
    expect(cell(page, 1)).to_have_attribute("data-discarded", "true")

    def discarded() -> bool:
        return uid in {entry["uid"] for entry in _type(studio, "list_uids train --discarded --limit 1000")["uids"]}

    wait_until(discarded, what="the console lists it as discarded")
    _type(studio, f"undiscard {uid} --loader train")
    expect(cell(page, 1)).to_have_attribute("data-discarded", "false")
