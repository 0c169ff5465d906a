"""The Kubernetes manifests and the chart: valid for two versions, closed, limited, in step with the services."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import helm_python
import kubernetes_validate
import pytest
import yaml

from tests.support.deployment import DEPLOY, ROOT, settings_of

KUBERNETES = ("1.31", "1.37")
NEWEST = KUBERNETES[-1]
CHART = DEPLOY / "helm" / "weightslab"
KUBECTL = Path(sys.executable).parent / "kubectl"
OURS = {"ledger": "ledger", "gateway": "gateway", "ui": "ui", "trainer": "trainer"}
Object = dict[str, Any]


def objects(text: str) -> list[Object]:
    return [document for document in yaml.safe_load_all(text) if document]


def rendered(folder: str) -> list[Object]:
    command = [str(KUBECTL), "kustomize", str(DEPLOY / "k8s" / folder)]
    return objects(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


PRODUCTION = rendered("overlays/production")
EXAMPLES = rendered("examples")
ALL = PRODUCTION + EXAMPLES
WORKLOADS = [one for one in ALL if one["kind"] in ("Deployment", "StatefulSet", "Job")]


def by_name(found: list[Object]) -> dict[tuple[str, str], Object]:
    return {(one["kind"], one["metadata"]["name"]): one for one in found}


def pod(workload: Object) -> Object:
    found: Object = workload["spec"]["template"]["spec"]
    return found


def container(workload: Object) -> Object:
    (found,) = pod(workload)["containers"]
    return dict(found)


def name_of(one: Object) -> str:
    return f"{one['kind']}/{one['metadata']['name']}"


def validate(found: list[Object], version: str) -> None:
    for one in found:
        kubernetes_validate.validate(one, version, strict=True)


@pytest.mark.parametrize(
    ("folder", "version"),
    [*(("overlays/production", version) for version in KUBERNETES), ("overlays/local", NEWEST), ("examples", NEWEST)],
)
def test_manifests_are_valid(folder: str, version: str) -> None:
    found = rendered(folder)
    assert len(found) > 1
    validate(found, version)


def test_validation_is_really_done() -> None:
    broken = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"prots": []}}
    with pytest.raises(kubernetes_validate.ValidationError):
        validate([broken], KUBERNETES[0])


def test_golden_files_and_chart_are_made_from_the_manifests() -> None:
    command = [sys.executable, str(ROOT / "tools" / "make_chart.py"), "--check"]
    found = subprocess.run(command, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout


def chart(**values: Any) -> list[Object]:
    with helm_python.Chart.load(str(CHART)) as loaded:
        files = loaded.render(values or None, name="weightslab", namespace="weightslab")
    return [one for text in files.values() for one in objects(text)]


def test_helm_has_nothing_to_say() -> None:
    found = helm_python.chart.lint(str(CHART), strict=True)
    messages = [str(message) for message in found.get("messages", []) if "icon" not in str(message)]
    assert not messages, found


def test_the_chart_is_the_production_overlay() -> None:
    expected = by_name(PRODUCTION)
    made = by_name(chart())
    assert set(made) == set(expected)
    for key, one in made.items():
        metadata = {name: value for name, value in expected[key]["metadata"].items() if name != "namespace"}
        assert one == {**expected[key], "metadata": metadata}, key


def test_values_of_the_chart_change_what_they_name() -> None:
    made = chart(
        host="studio.lab.example",
        gateway={"image": "mine/gateway:7", "minReplicas": 3, "resources": {"limits": {"cpu": "1", "memory": "2Gi"}}},
        nats={"storage": "99Gi"},
        ingress={"className": "traefik", "annotations": {"a": "b"}},
    )
    validate(made, NEWEST)
    found = by_name(made)
    assert "studio.example.com" not in str(made)
    assert found["Ingress", "grpc"]["spec"]["rules"][0]["host"] == "grpc.studio.lab.example"
    assert {one["spec"]["ingressClassName"] for one in made if one["kind"] == "Ingress"} == {"traefik"}
    assert found["HorizontalPodAutoscaler", "gateway"]["spec"]["minReplicas"] == 3
    gateway = container(found["Deployment", "gateway"])
    assert (gateway["image"], gateway["resources"]["limits"]["memory"]) == ("mine/gateway:7", "2Gi")
    claim = found["StatefulSet", "nats"]["spec"]["volumeClaimTemplates"][0]
    assert claim["spec"]["resources"]["requests"]["storage"] == "99Gi"


@pytest.mark.parametrize("workload", WORKLOADS, ids=name_of)
def test_a_pod_has_no_rights_that_it_does_not_need(workload: Object) -> None:
    told, one = pod(workload), container(workload)
    assert told["automountServiceAccountToken"] is False
    assert told["securityContext"]["runAsNonRoot"] is True
    assert told["securityContext"]["runAsUser"] > 0
    assert told["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(told)
    assert not any("hostPath" in volume for volume in told["volumes"])
    assert one["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"cpu", "memory"} <= set(one["resources"]["limits"])
    assert {"cpu", "memory"} <= set(one["resources"]["requests"])
    tag = one["image"].rpartition(":")[2]
    assert tag != "latest"
    assert re.search(r"\d", tag)


@pytest.mark.parametrize("workload", [one for one in WORKLOADS if one["kind"] != "Job"], ids=name_of)
def test_a_pod_is_probed_and_spread(workload: Object) -> None:
    assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(container(workload))
    keys = {one["topologyKey"] for one in pod(workload)["topologySpreadConstraints"]}
    assert keys == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}
    name = workload["metadata"]["name"]
    for one in pod(workload)["topologySpreadConstraints"]:
        assert one["labelSelector"]["matchLabels"] == {"app.kubernetes.io/name": name}


@pytest.mark.parametrize("workload", [one for one in WORKLOADS if one["metadata"]["name"] in OURS], ids=name_of)
def test_every_setting_is_one_of_the_service(workload: Object) -> None:
    told = {one["name"] for one in container(workload)["env"]}
    assert told <= settings_of(OURS[workload["metadata"]["name"]])


def test_ports_of_probes_and_services_are_ports_of_containers() -> None:
    ports = {
        one["metadata"]["name"]: {port["name"]: port["containerPort"] for port in container(one).get("ports", [])}
        for one in WORKLOADS
    }
    for one in (one for one in PRODUCTION if one["kind"] == "Service"):
        for port in one["spec"]["ports"]:
            assert ports[one["metadata"]["name"]][port["name"]] == port["port"]
    for one in WORKLOADS:
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            told = container(one).get(probe, {})
            for kind in ("httpGet", "tcpSocket"):
                if kind in told:
                    assert told[kind]["port"] in ports[one["metadata"]["name"]]


def test_a_secret_is_mounted_only_where_it_is_read() -> None:
    made = {
        one["metadata"]["name"]: {
            item["key"] for volume in pod(one)["volumes"] if "secret" in volume for item in volume["secret"]["items"]
        }
        for one in WORKLOADS
    }
    assert made["ui"] == set()
    assert made["gateway"] == {"WL_TOKEN", "WL_VIEWER_TOKEN", "WL_NATS_TOKEN"}
    assert made["ledger"] == {"WL_NATS_TOKEN", "WL_REDIS_URL"}
    assert made["trainer"] == made["nats"] == {"WL_NATS_TOKEN"}
    assert not any(one["kind"] == "Secret" for one in ALL), "no secret is kept with the manifests"


def test_the_ingress_leads_every_public_service_to_the_gateway_and_the_rest_to_the_page() -> None:
    ingress = by_name(PRODUCTION)["Ingress", "studio"]
    (rule,) = ingress["spec"]["rules"]
    led = {path["path"]: path["backend"]["service"]["name"] for path in rule["http"]["paths"]}
    contract = "\n".join(path.read_text() for path in (ROOT / "proto" / "weightslab" / "v1").glob("*.proto"))
    services = re.findall(r"^service (\w+)", contract, re.MULTILINE)
    assert services
    assert {f"/weightslab.v1.{name}" for name in services} <= {path for path, to in led.items() if to == "gateway"}
    assert led["/media"] == led["/auth"] == "gateway"
    assert led["/"] == "ui"
    assert ingress["spec"]["tls"]
    annotations = ingress["metadata"]["annotations"]
    assert annotations["nginx.ingress.kubernetes.io/proxy-buffering"] == "off"
    assert int(annotations["nginx.ingress.kubernetes.io/proxy-read-timeout"]) >= 3600


def test_only_page_and_gateway_are_reached_from_outside() -> None:
    policies = [one for one in PRODUCTION if one["kind"] == "NetworkPolicy"]
    everything = next(one for one in policies if one["metadata"]["name"] == "nothing-by-default")
    assert everything["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in everything["spec"]
    for workload in WORKLOADS:
        if workload["kind"] != "Job":
            labels = workload["spec"]["template"]["metadata"]["labels"]
            assert labels["app.kubernetes.io/part-of"] == "weightslab"
    for one in policies:
        for rule in one["spec"].get("ingress", []):
            assert rule["from"]
            assert rule["ports"]
    assert {one["spec"].get("type", "ClusterIP") for one in PRODUCTION if one["kind"] == "Service"} == {"ClusterIP"}


def test_a_rollout_keeps_gateways_serving_and_a_ledger_at_work() -> None:
    found = by_name(PRODUCTION)
    assert found["Deployment", "gateway"]["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    ledger = found["Deployment", "ledger"]["spec"]
    assert ledger["replicas"] - ledger["strategy"]["rollingUpdate"]["maxUnavailable"] >= 1
    claim = found["PersistentVolumeClaim", "ledger"]["spec"]
    assert claim["accessModes"] == ["ReadWriteMany"], "a ledger that takes over needs the files of the one before"
    assert container(found["StatefulSet", "nats"])["lifecycle"]["preStop"]
    for name in ("gateway", "ui", "ledger", "nats"):
        assert ("PodDisruptionBudget", name) in found
    replicas = {one["name"]: one["value"] for one in container(found["Deployment", "ledger"])["env"] if "value" in one}
    assert int(replicas["WL_STREAM_REPLICAS"]) == found["StatefulSet", "nats"]["spec"]["replicas"]
    assert replicas["WL_NATS_URL"].count("nats://") == found["StatefulSet", "nats"]["spec"]["replicas"]
