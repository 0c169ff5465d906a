"""The compose file, with each of its environment templates: valid, closed, limited, and in step with the services."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose
from weightslab_common.embedded import nats_command, store_command
from weightslab_gateway.metrics import Metrics
from weightslab_ledger.metrics import Connections, Counts, LedgerCollector, Reading, registry_of

from tests.support.deployment import COMPOSE, DEPLOY, compose, environment_of, settings_of, stages, variables_of

ENVIRONMENTS = (".env", ".env.staging", ".env.production")
# Service -> the part whose settings it reads.
OURS = {"ledger": "ledger", "gateway": "gateway", "ui": "ui", "trainer": "trainer"}
SERVICES = sorted(compose()["services"])
PUBLISHED = {"gateway", "ui", "envoy"}


def service(name: str) -> dict[str, Any]:
    found: dict[str, Any] = compose()["services"][name]
    return found


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_it_follows_the_compose_specification(name: str) -> None:
    # Merge keys (`<<`) are YAML 1.1 and resolved by the reader.
    text = yaml.safe_dump(compose(name))
    assert set(PyCompose.from_yaml(text).service_names()) == set(SERVICES)


def test_the_specification_is_really_checked() -> None:
    with pytest.raises(ValueError, match="healthchek"):
        PyCompose.from_yaml("services: {a: {image: 'b:1', healthchek: {}}}")


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_an_environment_gives_every_variable_and_no_other(name: str) -> None:
    secrets = {"WL_TOKEN", "WL_VIEWER_TOKEN", "WL_NATS_TOKEN"}
    used = variables_of((COMPOSE / "compose.yaml").read_text())
    assert set(environment_of(name)) == used - secrets


def test_the_defaults_in_the_file_are_those_of_the_template() -> None:
    text = (COMPOSE / "compose.yaml").read_text()
    given = environment_of(".env")
    for variable, default in re.findall(r"\$\{(\w+):-([^}]*)\}", text):
        if default and variable != "WL_ALLOWED_HOSTS":
            assert given[variable] == default, variable


def test_the_ports_of_the_guide() -> None:
    ports = [port for name in SERVICES for port in service(name).get("ports", [])]
    for published in ("5173:5173", "8080:8080", "9901:9901", "50051:50051"):
        assert any(port.endswith(published) for port in ports), published


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_no_rights_that_it_does_not_need(name: str) -> None:
    told = service(name)
    assert re.fullmatch(r"[1-9]\d*:\d+", told["user"])
    assert told["read_only"] is True
    assert told["cap_drop"] == ["ALL"]
    assert told["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in told
    limits = told["deploy"]["resources"]["limits"]
    assert {"cpus", "memory", "pids"} <= set(limits)
    tag = told["image"].rpartition(":")[2]
    assert tag not in ("", "latest")
    assert re.search(r"\d", tag)


@pytest.mark.parametrize("name", SERVICES)
def test_only_page_and_gateway_can_be_opened_to_other_machines(name: str) -> None:
    for raw in (compose(file)["services"][name].get("ports", []) for file in ENVIRONMENTS):
        assert all(port.startswith("127.0.0.1:") for port in raw), "the templates listen on loopback"
    text = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"][name]
    if name not in PUBLISHED:
        assert all(port.startswith("127.0.0.1:") for port in text.get("ports", []))
    assert name in PUBLISHED or "front" not in told_networks(name)


def told_networks(name: str) -> list[str]:
    return list(service(name).get("networks", []))


def test_store_and_ledger_can_reach_nothing_outside() -> None:
    assert compose()["networks"]["back"] == {"internal": True}
    assert told_networks("redis") == told_networks("ledger") == ["back"]


@pytest.mark.parametrize("name", SERVICES)
def test_what_runs_on_is_checked_for_health_and_waited_for(name: str) -> None:
    told = service(name)
    if told["restart"] == "no" or name in ("trainer", "envoy"):
        return
    assert told["healthcheck"]["test"]
    for needed, condition in told.get("depends_on", {}).items():
        expected = "service_completed_successfully" if needed == "setup" else "service_healthy"
        assert condition["condition"] == expected


@pytest.mark.parametrize("name", sorted(OURS))
def test_every_setting_is_one_of_the_service(name: str) -> None:
    unknown = set(service(name)["environment"]) - settings_of(OURS[name])
    assert not unknown


def test_images_are_targets_of_the_dockerfile() -> None:
    for name in SERVICES:
        if "build" in service(name):
            assert service(name)["build"]["target"] in stages()


def test_login_reads_the_secrets_and_gives_a_link(tmp_path: Path) -> None:
    make_secrets(tmp_path)
    told = service("login")
    environment = {**told["environment"], "WL_SECRETS_DIR": str(tmp_path), "PATH": os.environ["PATH"]}
    command = [str(Path(sys.executable).parent / told["command"][0]), *told["command"][1:]]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert found.stdout.startswith("http://localhost:5173/#login=")
    assert sorted(path.name for path in tmp_path.iterdir()) == SECRETS


SECRETS = ["WL_NATS_TOKEN", "WL_REDIS_PASSWORD", "WL_REDIS_URL", "WL_TOKEN", "WL_VIEWER_TOKEN"]


def make_secrets(folder: Path, **environment: str) -> str:
    command = [sys.executable, "-m", "weightslab_common.secret_files", str(folder)]
    given = {"PATH": os.environ["PATH"], **environment}
    return subprocess.run(command, env=given, capture_output=True, text=True, check=True).stdout


def test_setup_makes_secrets_once_and_keeps_those_that_are_given(tmp_path: Path) -> None:
    told = make_secrets(tmp_path, WL_TOKEN="a-token-of-mine")
    assert "a-token-of-mine" not in told
    values = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert sorted(values) == SECRETS
    assert values["WL_TOKEN"] == "a-token-of-mine\n"
    assert values["WL_REDIS_URL"].strip() == f"redis://:{values['WL_REDIS_PASSWORD'].strip()}@redis:6379"
    assert all(path.stat().st_mode & 0o777 == 0o400 for path in tmp_path.iterdir())
    assert "all secrets were there" in make_secrets(tmp_path, WL_TOKEN="another")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == values


@pytest.mark.parametrize("path", [COMPOSE / "nats.conf", DEPLOY / "k8s" / "base" / "nats.conf"], ids=str)
def test_nats_takes_its_configuration(path: Path, tmp_path: Path) -> None:
    nats = nats_command(tmp_path / "embedded", port=4222)[0]
    mine = tmp_path / "nats.conf"
    mine.write_text(path.read_text().replace("/var/lib/weightslab/nats", str(tmp_path / "nats")))
    environment = {"WL_NATS_TOKEN": "word", "POD_NAME": "nats-0", "PATH": os.environ["PATH"]}
    checked = subprocess.run([nats, "-t", "-c", str(mine)], env=environment, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


def test_the_store_is_as_durable_as_the_embedded_one(tmp_path: Path) -> None:
    embedded = Path(store_command(tmp_path / "store", port=6379)[1]).read_text().splitlines()
    shipped = (COMPOSE / "redis.conf").read_text().splitlines()
    for line in embedded:
        if line.split()[0] not in ("bind", "port", "dir"):
            assert line in shipped, f"the store of the compose stack must be as durable as the embedded one: {line}"


def _metric_names() -> set[str]:
    reading = Reading("e", 1, 1, Counts())
    ledger = LedgerCollector(connections=lambda: Connections(bus=True, store=True), readings=lambda: [reading])
    names = {"up"}
    for registry in (Metrics().registry, registry_of(ledger)):
        for metric in registry.collect():
            suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(metric.type, [""])
            names |= {metric.name + suffix for suffix in suffixes}
    return names


@pytest.mark.parametrize("file", ["dashboard.json", "alerts.yaml"])
def test_what_is_observed_is_measured(file: str) -> None:
    used = set(re.findall(r"\bwl_\w+", (COMPOSE / "observability" / file).read_text()))
    assert used
    assert used <= _metric_names()
