"""Running a studio in the foreground, with progress and its address on the terminal."""

from __future__ import annotations

import asyncio
import os
import sys
import webbrowser
from typing import Any

import click
from weightslab_common.settings import load

from weightslab.studio.child import Child
from weightslab.studio.output import standard_output
from weightslab.studio.plan import Plan
from weightslab.studio.runfile import run_folder
from weightslab.studio.session import Reporter, login_url, run
from weightslab.studio.settings import StudioSettings


def run_in_foreground(*, no_browser: bool, dev: bool = False, trainer: list[str] | None = None, **flags: Any) -> None:
    """Run until Ctrl-C. Raises WeightsLabError when the studio cannot start or cannot go on."""
    settings = load(StudioSettings, **flags)
    output = standard_output(
        level=settings.log_level, format=settings.log_format, file=run_folder(settings.data_dir) / "studio.log"
    )
    reporter = Reporter(
        starting=lambda plan: _say(f"Starting the studio in {plan.data_dir}"),
        service_ready=_service_ready,
        waiting=lambda: _say("  waiting for the first curve …"),
        ready=lambda plan, seen: _ready(plan, seen=seen, browser=not no_browser),
    )
    try:
        asyncio.run(run(settings, output=output, reporter=reporter, trainer=trainer, develop=dev))
    finally:
        output.close()


def _say(text: str) -> None:
    click.echo(text)
    sys.stdout.flush()


def _service_ready(child: Child, seconds: float) -> None:
    word = "started" if child.service.probe is None else "ready"
    _say(f"  {child.service.purpose:<24} {word} {seconds:5.1f} s")


def _ready(plan: Plan, *, seen: bool, browser: bool) -> None:
    if not seen:
        _say("  no curve has come yet; the log says why, the page shows it as soon as there is one")
    _say(f"\n  Weights Studio   {login_url(plan)}\n")
    _say(
        "  The link logs in once, within 15 minutes; `weightslab token --link` makes another. Ctrl-C stops everything."
    )
    if browser and _can_open_browser():
        # A login of its own: the printed one stays unused.
        webbrowser.open(login_url(plan))


def _can_open_browser() -> bool:
    if not sys.stdout.isatty():
        return False
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
