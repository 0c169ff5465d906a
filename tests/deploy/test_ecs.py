"""The CloudFormation template: clean by its linter, closed but for 443, in step with the services."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cfnlint.decode import cfn_yaml

from tests.support.deployment import COMPOSE, DEPLOY, settings_of

TEMPLATE = DEPLOY / "ecs" / "weightslab.yaml"
LINTER = Path(sys.executable).parent / "cfn-lint"
RESOURCES: dict[str, Any] = cfn_yaml.load(str(TEMPLATE))["Resources"]
TASKS = {
    resource["Properties"]["ContainerDefinitions"][0]["Name"]: resource["Properties"]
    for resource in RESOURCES.values()
    if resource["Type"] == "AWS::ECS::TaskDefinition"
}
OURS = ("ledger", "gateway", "ui")


def of_type(kind: str) -> dict[str, Any]:
    return {name: one["Properties"] for name, one in RESOURCES.items() if one["Type"] == kind}


def test_the_linter_has_nothing_to_say(tmp_path: Path) -> None:
    found = subprocess.run([str(LINTER), str(TEMPLATE)], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout
    broken = tmp_path / "broken.yaml"
    broken.write_text(TEMPLATE.read_text().replace("RequiresCompatibilities", "RequiresCompatibilty"))
    assert subprocess.run([str(LINTER), str(broken)], capture_output=True).returncode != 0


@pytest.mark.parametrize("name", sorted(TASKS))
def test_a_task_has_no_rights_that_it_does_not_need(name: str) -> None:
    (container,) = TASKS[name]["ContainerDefinitions"]
    assert container["User"] == "65532:65532"
    assert container["ReadonlyRootFilesystem"] is True
    assert container["LinuxParameters"]["Capabilities"] == {"Drop": ["ALL"]}
    assert container["HealthCheck"]["Command"]
    assert container["LogConfiguration"]["LogDriver"] == "awslogs"
    assert "TaskRoleArn" not in TASKS[name]
    told = {one["Name"] for one in container.get("Environment", [])}
    assert not [one for one in told if "TOKEN" in one or "PASSWORD" in one or one == "WL_REDIS_URL"]


@pytest.mark.parametrize("name", OURS)
def test_every_setting_is_one_of_the_service(name: str) -> None:
    (container,) = TASKS[name]["ContainerDefinitions"]
    told = {one["Name"] for one in [*container["Environment"], *container.get("Secrets", [])]}
    assert told <= settings_of(name)


def test_only_tls_at_the_load_balancer_is_public() -> None:
    public = [
        rule["FromPort"]
        for group in of_type("AWS::EC2::SecurityGroup").values()
        for rule in group.get("SecurityGroupIngress", [])
        if rule.get("CidrIp") == "0.0.0.0/0"
    ]
    assert public == [443]
    for service in of_type("AWS::ECS::Service").values():
        network = service["NetworkConfiguration"]["AwsvpcConfiguration"]
        assert network["AssignPublicIp"] == "DISABLED"
    (listener,) = of_type("AWS::ElasticLoadBalancingV2::Listener").values()
    assert (listener["Port"], listener["Protocol"]) == (443, "HTTPS")


def test_both_protocols_of_the_gateway_have_targets() -> None:
    groups = of_type("AWS::ElasticLoadBalancingV2::TargetGroup")
    found = {name: (one.get("ProtocolVersion", "HTTP1"), one["Port"]) for name, one in groups.items()}
    assert found == {
        "PageTargets": ("HTTP1", 5173),
        "WebTargets": ("HTTP1", 8080),
        "GrpcTargets": ("GRPC", 50051),
    }
    gateway = of_type("AWS::ECS::Service")["Gateway"]
    assert {one["ContainerPort"] for one in gateway["LoadBalancers"]} == {8080, 50051}


def test_what_keeps_files_never_runs_twice_on_them() -> None:
    services = of_type("AWS::ECS::Service")
    for name in ("Nats", "Redis"):
        assert services[name]["DesiredCount"] == 1
        assert services[name]["DeploymentConfiguration"]["MaximumPercent"] == 100
        assert RESOURCES["Files"]["DeletionPolicy"] == "Retain"


@pytest.mark.parametrize(("task", "file"), [("nats", "nats.conf"), ("redis", "redis.conf")])
def test_the_servers_are_as_durable_as_those_of_the_compose_stack(task: str, file: str) -> None:
    (container,) = TASKS[task]["ContainerDefinitions"]
    script = " ".join(container["Command"])
    for line in (COMPOSE / file).read_text().splitlines():
        setting = line.split("#")[0].strip().strip("{}").strip()
        kept = setting.split(":")[0] in ("sync_interval", "max_payload", "authorization") or file == "redis.conf"
        if setting and kept and not setting.startswith("authorization"):
            assert setting in script, setting
