"""Every setting of every part: its value, where that comes from, and what it is for. Secrets are never shown."""

from __future__ import annotations

import importlib
import os
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

from dotenv import dotenv_values
from pydantic.fields import FieldInfo
from weightslab_common.settings import SECRETS_DIR, ServiceSettings, load

# Named, not imported: the command describes services without depending on them, and leaves out what is not installed.
SETTINGS = {
    "studio": "weightslab.studio.settings:StudioSettings",
    "trainer": "weightslab.settings:TrainerSettings",
    "console": "weightslab.console.settings:ConsoleSettings",
    "ledger": "weightslab_ledger.settings:LedgerSettings",
    "gateway": "weightslab_gateway.settings:GatewaySettings",
    "ui": "weightslab_ui.settings:UiSettings",
}


@dataclass(frozen=True, slots=True)
class Setting:
    """One environment variable and what the parts that read it make of it."""

    variable: str
    value: str
    # `flag`, `environment`, `.env`, `secret` (a file of WL_SECRETS_DIR) or `default`.
    source: str
    default: str
    parts: list[str]
    description: str


def classes() -> dict[str, type[ServiceSettings]]:
    """The settings of each part that is installed."""
    found = {}
    for part, where in SETTINGS.items():
        module, _, name = where.partition(":")
        try:
            found[part] = getattr(importlib.import_module(module), name)
        except ModuleNotFoundError:
            continue
    return found


def table(**flags: object) -> list[Setting]:
    """All settings, sorted by variable; `flags` as given on the command line, None meaning not given."""
    dotenv = dotenv_values(".env") if os.path.exists(".env") else {}
    known: dict[str, Setting] = {}
    for part, kind in classes().items():
        given = {name: value for name, value in flags.items() if value is not None and name in kind.model_fields}
        values = load(kind, **given)
        for name, field in kind.model_fields.items():
            variable = str(field.validation_alias or name)
            if variable in known:
                known[variable].parts.append(part)
                continue
            known[variable] = Setting(
                variable=variable,
                value=_shown(getattr(values, name), field),
                source="flag" if name in given else _source(variable, dotenv),
                default=_shown(field.get_default(call_default_factory=True), field),
                parts=[part],
                description=field.description or "",
            )
    return [known[variable] for variable in sorted(known)]


def markdown() -> str:
    """All settings as a table for the documentation."""
    rows = [
        f"| `{setting.variable}` | {_cell(setting.default)} | {', '.join(setting.parts)} | {setting.description} |"
        for setting in table()
    ]
    return "\n".join(["| variable | default | read by | meaning |", "|---|---|---|---|", *rows])


def _source(variable: str, dotenv: Container[str]) -> str:
    if variable in os.environ:
        return "environment"
    if variable in dotenv:
        return ".env"
    folder = os.environ.get(SECRETS_DIR)
    return "secret" if folder and (Path(folder) / variable).is_file() else "default"


def _cell(default: str) -> str:
    return default if default in ("–", "(hidden)") else f"`{default}`"


def _shown(value: object, field: FieldInfo) -> str:
    if value is None or value == "":
        return "–"
    if not field.repr:
        return "(hidden)"
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "–"
    return str(value)
