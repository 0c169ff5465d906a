"""The documentation lists every setting, with its default and what it means."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import pytest
from weightslab.command.settings_table import classes, markdown, table
from weightslab_common.settings import ServiceSettings

ROOT = Path(__file__).resolve().parents[3]
DOCUMENTED = (ROOT / "docs" / "settings.md").read_text()


def _own_classes() -> set[str]:
    """Every settings class that is written in a `settings.py` of a service."""
    found = set()
    for file in (ROOT / "services").glob("*/*/**/settings.py"):
        if "common" in file.parts:
            continue
        name = ".".join(file.relative_to(ROOT / "services").with_suffix("").parts[1:])
        module = importlib.import_module(name)
        found |= {
            kind.__qualname__
            for _, kind in inspect.getmembers(module, inspect.isclass)
            if issubclass(kind, ServiceSettings) and kind.__module__ == name
        }
    return found


def test_every_part_is_in_the_table() -> None:
    assert {kind.__qualname__ for kind in classes().values()} == _own_classes()


@pytest.fixture
def no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for setting in table():
        monkeypatch.delenv(setting.variable, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("no_environment")
def test_the_documentation_has_every_setting_as_it_is() -> None:
    for row in markdown().splitlines():
        assert row in DOCUMENTED, f"docs/settings.md: put the table of `weightslab config --markdown` there; {row}"


def test_every_field_has_a_variable_and_a_meaning() -> None:
    for part, kind in classes().items():
        for name, field in kind.model_fields.items():
            assert isinstance(field.validation_alias, str), f"{part}.{name}"
            assert field.description, f"{part}.{name}"
            assert f"`{field.validation_alias}`" in DOCUMENTED


@pytest.mark.usefixtures("no_environment")
def test_where_a_value_comes_from_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("ENVOY_PORT=8181\nVITE_PORT=5180\n")
    monkeypatch.setenv("VITE_PORT", "5190")
    found = {setting.variable: (setting.value, setting.source) for setting in table()}
    assert found["VITE_PORT"] == ("5190", "environment")
    assert found["ENVOY_PORT"] == ("8181", ".env")
    assert found["GRPC_BACKEND_PORT"] == ("50051", "default")


def test_secrets_are_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = ("WL_TOKEN", "WL_VIEWER_TOKEN", "WL_NATS_TOKEN", "WL_REDIS_URL")
    for variable in secrets:
        monkeypatch.setenv(variable, "redis://:hunter2@host" if variable.endswith("URL") else "hunter2hunter2hunter2")
    shown = {setting.variable: setting.value for setting in table()}
    assert all(shown[variable] == "(hidden)" for variable in secrets)
    assert "hunter2" not in str(table())
