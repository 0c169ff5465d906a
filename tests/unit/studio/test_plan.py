"""What is started for which settings."""

from __future__ import annotations

from pathlib import Path

import pytest
from weightslab.studio.plan import Plan, make, reachable
from weightslab.studio.settings import StudioSettings
from weightslab_common.settings import load


def _plan(monkeypatch: pytest.MonkeyPatch, folder: Path, trainer: list[str] | None = None, **settings: str) -> Plan:
    for variable in ("WL_NATS_URL", "WL_NATS_TOKEN", "WL_REDIS_URL", "WL_TOKEN", "WL_TOKEN_FILE"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in settings.items():
        monkeypatch.setenv(variable, value)
    return make(load(StudioSettings, data_dir=folder), previous=None, trainer=trainer)


def _names(plan: Plan) -> list[str]:
    return [service.name for service in plan.services]


def test_servers_come_first_and_the_run_last(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plan = _plan(monkeypatch, tmp_path, ["train"])
    assert _names(plan) == ["nats", "store", "ledger", "gateway", "ui", "trainer"]


def test_servers_of_yours_are_used_instead(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plan = _plan(monkeypatch, tmp_path, WL_NATS_URL="nats://bus:4222", WL_NATS_TOKEN="t", WL_REDIS_URL="redis://r:1")
    assert _names(plan) == ["ledger", "gateway", "ui"]
    assert plan.environment["WL_NATS_URL"] == "nats://bus:4222"
    assert plan.environment["WL_NATS_TOKEN"] == "t"
    assert plan.environment["WL_REDIS_URL"] == "redis://r:1"


def test_embedded_servers_have_secrets_that_stay(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first, second = _plan(monkeypatch, tmp_path), _plan(monkeypatch, tmp_path)
    assert first.nats_token
    assert first.nats_token == second.nats_token
    assert first.redis_url.split("@")[0] == second.redis_url.split("@")[0] != "redis://"
    for file in ("run/nats.token", "run/store.password", "nats/nats.conf", "store/store.conf", "token"):
        assert (tmp_path / file).stat().st_mode & 0o077 == 0, file


def test_secrets_are_in_no_command_and_in_no_text_of_the_plan(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plan = _plan(monkeypatch, tmp_path)
    password = plan.redis_url.partition("redis://:")[2].partition("@")[0]
    for secret in (plan.token, plan.nats_token or "", password):
        assert secret not in repr(plan)
        assert all(secret not in " ".join(service.command) for service in plan.services)


def test_a_given_token_is_passed_on_and_a_kept_one_by_its_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    kept = _plan(monkeypatch, tmp_path)
    assert Path(kept.environment["WL_TOKEN_FILE"]).read_text().strip() == kept.token
    assert "WL_TOKEN" not in kept.environment
    given = _plan(monkeypatch, tmp_path, WL_TOKEN="chosen")
    assert given.environment["WL_TOKEN"] == given.token == "chosen"


def test_the_page_looks_for_the_gateway_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert _plan(monkeypatch, tmp_path, ENVOY_PORT="8181").environment["WS_SERVER_PORT"] == "8181"
    behind = _plan(monkeypatch, tmp_path, ENVOY_PORT="8181", WS_SERVER_PORT="443")
    assert behind.environment["WS_SERVER_PORT"] == "443"


@pytest.mark.parametrize(("bind", "address"), [("0.0.0.0", "127.0.0.1"), ("::", "127.0.0.1"), ("10.1.2.3", "10.1.2.3")])
def test_a_server_is_asked_where_it_listens(bind: str, address: str) -> None:
    assert reachable(bind) == address
