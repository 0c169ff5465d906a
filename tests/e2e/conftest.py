"""A real Chromium for the browser tests."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Protocol

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright
from weightslab_proto.weightslab.v1 import EditOperation, EditSamplesRequest, Query, ResumeRequest, Target

from tests.e2e.hands import train
from tests.support.background import with_api
from tests.support.studio import EXPERIMENT, Api, Studio
from tools import chromium

# A page that is slow on a busy machine is not a page that is wrong.
ACTION_TIMEOUT_MS = 45_000
expect.set_options(timeout=45_000)


class OpenPage(Protocol):
    """Opens a logged-in window; console errors that hold `tolerated` are expected."""

    def __call__(self, *, tolerated: str = "") -> Page: ...


# Not for the whole session: while it runs, its loop occupies the thread that asynchronous tests need.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = chromium.find()
    assert path, chromium.ADVICE
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"],
        )
        yield browser
        browser.close()


async def _restore_all(api: Api) -> None:
    """Take back what a test before has discarded: one that failed midway is no reason for others to fail."""
    everything = Target(query=Query(filter="discarded"))
    await api.samples.edit_samples(
        EditSamplesRequest(
            experiment=EXPERIMENT, edit_id=uuid.uuid4().hex, operation=EditOperation.RESTORE, target=everything
        )
    )


@pytest.fixture
def open_page(browser: Browser, studio: Studio) -> Iterator[OpenPage]:
    """Opens a window of its own (own cookies, own storage) that is logged in, on a run whose samples are all active.

    No console error is tolerated.
    """
    with_api(studio, _restore_all)
    contexts: list[BrowserContext] = []
    errors: list[str] = []

    def note(message: ConsoleMessage, tolerated: str) -> None:
        if message.type in ("error", "warning") and not (tolerated and tolerated in message.text):
            errors.append(f"{message.type}: {message.text} ({message.location})")

    def open_page(*, tolerated: str = "") -> Page:
        context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme="dark")
        context.set_default_timeout(ACTION_TIMEOUT_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: note(message, tolerated))
        page.on("pageerror", lambda error: errors.append(f"uncaught: {error}"))
        page.goto(studio.login_url)
        page.get_by_test_id("grid-cell").first.wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not errors, "\n".join(errors)


@pytest.fixture
def page(open_page: OpenPage, studio: Studio) -> Iterator[Page]:
    """A logged-in page on a run that trains, and trains on afterwards."""
    page = open_page()
    train(page)
    yield page

    async def resume(api: Api) -> None:
        await api.experiments.resume(ResumeRequest(experiment=EXPERIMENT))

    with_api(studio, resume)
