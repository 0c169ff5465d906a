"""What `deploy/` ships, read for tests: compose files with their variables filled in, images, settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from dotenv import dotenv_values
from weightslab.command.settings_table import classes

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE = DEPLOY / "compose"
DOCKERFILE = DEPLOY / "docker" / "Dockerfile"

_VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)(?::-([^}]*))?\}")


def environment_of(name: str) -> dict[str, str]:
    """The values in an environment file of the compose folder."""
    return {key: value or "" for key, value in dotenv_values(COMPOSE / name).items()}


def interpolated(text: str, environment: Mapping[str, str]) -> str:
    """As compose fills variables in: `${NAME}` and `${NAME:-default}`; `$$` stays for the shell of the container."""
    return _VARIABLE.sub(lambda found: environment.get(found[1]) or found[2] or "", text)


def variables_of(text: str) -> set[str]:
    """The names that compose would fill in."""
    return {found[1] for found in _VARIABLE.finditer(text)}


def compose(environment_file: str = ".env") -> dict[str, Any]:
    """The compose file as it is with an environment file."""
    text = interpolated((COMPOSE / "compose.yaml").read_text(), environment_of(environment_file))
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def settings_of(part: str) -> set[str]:
    """The variables that a part reads."""
    return {str(field.validation_alias) for field in classes()[part].model_fields.values()}


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of the Dockerfile. `base`: the stage or image it begins from."""

    name: str
    base: str
    lines: list[str]


def stages() -> dict[str, Stage]:
    """The stages of the Dockerfile by name, continued lines joined."""
    found: dict[str, Stage] = {}
    text = re.sub(r"\\\n\s*", "", DOCKERFILE.read_text())
    for line in text.splitlines():
        if begun := re.fullmatch(r"FROM (\S+) AS (\S+)", line):
            found[begun[2]] = Stage(begun[2], begun[1], [])
        elif found and line and not line.startswith("#"):
            next(reversed(found.values())).lines.append(line)
    return found


def inherited(stage: str) -> list[str]:
    """All instructions of a stage and of those it begins from, the base first."""
    known = stages()
    lines: list[str] = []
    while stage in known:
        lines = known[stage].lines + lines
        stage = known[stage].base
    return lines
