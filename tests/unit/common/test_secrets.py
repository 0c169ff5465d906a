"""Secrets as files, as Docker, Kubernetes and systemd hand them out."""

from __future__ import annotations

from pathlib import Path

import pytest
from weightslab.command.settings_table import table
from weightslab_common.settings import load
from weightslab_gateway.settings import GatewaySettings
from weightslab_ledger.settings import LedgerSettings

NAMES = ("WL_TOKEN", "WL_NATS_TOKEN", "WL_REDIS_URL")


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "WL_TOKEN").write_text("token-from-a-file\n")
    (folder / "WL_REDIS_URL").write_text("redis://:word@store:6379")
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WL_SECRETS_DIR", str(folder))
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.mark.usefixtures("secrets")
def test_a_secret_is_read_from_the_file_with_its_name() -> None:
    assert load(GatewaySettings).token == "token-from-a-file"
    assert load(LedgerSettings).redis_url == "redis://:word@store:6379"
    assert load(LedgerSettings).nats_token is None


@pytest.mark.usefixtures("secrets")
def test_what_is_said_otherwise_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WL_TOKEN", "token-of-the-environment")
    assert load(GatewaySettings).token == "token-of-the-environment"


@pytest.mark.usefixtures("secrets")
def test_a_gateway_with_a_token_file_may_be_reached_from_other_machines() -> None:
    assert load(GatewaySettings, bind="0.0.0.0").fault is None


@pytest.mark.usefixtures("secrets")
def test_the_command_tells_where_a_secret_comes_from() -> None:
    sources = {setting.variable: setting.source for setting in table()}
    assert sources["WL_TOKEN"] == sources["WL_REDIS_URL"] == "secret"
    assert sources["WL_NATS_TOKEN"] == "default"


def test_a_folder_that_is_not_there_stops_the_service(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WL_SECRETS_DIR", str(tmp_path / "none"))
    with pytest.raises(SystemExit):
        load(LedgerSettings)
    assert "setting WL_SECRETS_DIR: Path does not point to a directory" in capsys.readouterr().err
