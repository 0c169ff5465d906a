"""Render the Kubernetes manifests and make the Helm chart of them, so that there is one truth: `deploy/k8s/base`.

    python tools/make_chart.py            writes deploy/k8s/golden and deploy/helm/weightslab
    python tools/make_chart.py --check    exit status 1 when they are not what it would write

A value of the chart is a place in the production overlay: its default is what stands there.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
OVERLAYS = ROOT / "deploy" / "k8s" / "overlays"
GOLDEN = ROOT / "deploy" / "k8s" / "golden"
CHART = ROOT / "deploy" / "helm" / "weightslab"
VERSION = "0.1.0"
HOST = "studio.example.com"
KUBECTL = Path(sys.executable).parent / "kubectl"

# Value of the chart -> where it stands: kind, name, path; and how it is written.
_POD = ("spec", "template", "spec")
_CONTAINER = (*_POD, "containers", 0)
_CLAIM = ("spec", "volumeClaimTemplates", 0, "spec", "resources", "requests", "storage")
PLACES: dict[str, tuple[str, str, tuple[str | int, ...], str]] = {
    "ledger.image": ("Deployment", "ledger", (*_CONTAINER, "image"), "quote"),
    "ledger.replicas": ("Deployment", "ledger", ("spec", "replicas"), "int"),
    "ledger.resources": ("Deployment", "ledger", (*_CONTAINER, "resources"), "toJson"),
    "ledger.storage": ("PersistentVolumeClaim", "ledger", ("spec", "resources", "requests", "storage"), "quote"),
    "ledger.accessModes": ("PersistentVolumeClaim", "ledger", ("spec", "accessModes"), "toJson"),
    "gateway.image": ("Deployment", "gateway", (*_CONTAINER, "image"), "quote"),
    "gateway.resources": ("Deployment", "gateway", (*_CONTAINER, "resources"), "toJson"),
    "gateway.minReplicas": ("HorizontalPodAutoscaler", "gateway", ("spec", "minReplicas"), "int"),
    "gateway.maxReplicas": ("HorizontalPodAutoscaler", "gateway", ("spec", "maxReplicas"), "int"),
    "ui.image": ("Deployment", "ui", (*_CONTAINER, "image"), "quote"),
    "ui.resources": ("Deployment", "ui", (*_CONTAINER, "resources"), "toJson"),
    "ui.minReplicas": ("HorizontalPodAutoscaler", "ui", ("spec", "minReplicas"), "int"),
    "ui.maxReplicas": ("HorizontalPodAutoscaler", "ui", ("spec", "maxReplicas"), "int"),
    "nats.image": ("StatefulSet", "nats", (*_CONTAINER, "image"), "quote"),
    "nats.resources": ("StatefulSet", "nats", (*_CONTAINER, "resources"), "toJson"),
    "nats.storage": ("StatefulSet", "nats", _CLAIM, "quote"),
    "redis.image": ("StatefulSet", "redis", (*_CONTAINER, "image"), "quote"),
    "redis.resources": ("StatefulSet", "redis", (*_CONTAINER, "resources"), "toJson"),
    "redis.storage": ("StatefulSet", "redis", _CLAIM, "quote"),
    "ingress.className": ("Ingress", "studio", ("spec", "ingressClassName"), "quote"),
    "ingress.annotations": ("Ingress", "studio", ("metadata", "annotations"), "toJson"),
    "ingress.tlsSecret": ("Ingress", "studio", ("spec", "tls", 0, "secretName"), "quote"),
}
# The same value at a second place.
ALSO = {
    ("StatefulSet", "redis-replica", (*_CONTAINER, "image")): "redis.image",
    ("StatefulSet", "redis-replica", (*_CONTAINER, "resources")): "redis.resources",
    ("StatefulSet", "redis-replica", _CLAIM): "redis.storage",
    ("Ingress", "grpc", ("spec", "ingressClassName")): "ingress.className",
    ("Ingress", "grpc", ("spec", "tls", 0, "secretName")): "ingress.tlsSecret",
}


def rendered(overlay: str) -> str:
    """What `kubectl kustomize` makes of an overlay."""
    command = [str(KUBECTL), "kustomize", str(OVERLAYS / overlay)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def documents(text: str) -> dict[tuple[str, str], dict[str, Any]]:
    """Objects by kind and name, without their namespace, which the release gives."""
    found = {}
    for document in yaml.safe_load_all(text):
        if document:
            document["metadata"].pop("namespace", None)
            found[document["kind"], document["metadata"]["name"]] = document
    return found


def _parent(document: dict[str, Any], path: tuple[str | int, ...]) -> Any:
    place: Any = document
    for step in path[:-1]:
        place = place[step]
    return place


def chart_files(production: str) -> dict[str, str]:
    """The files of the chart by their path in it."""
    objects = documents(production)
    values: dict[str, Any] = {"host": HOST}
    expressions: dict[str, str] = {}
    for name, (kind, of, path, how) in PLACES.items():
        part, _, key = name.partition(".")
        values.setdefault(part, {})[key] = _parent(objects[kind, of], path)[path[-1]]
        expressions[name] = f"{{{{ .Values.{name} | {how} }}}}"
    places = [(kind, of, path, name) for name, (kind, of, path, _) in PLACES.items()]
    places += [(kind, of, path, name) for (kind, of, path), name in ALSO.items()]
    for kind, of, path, name in places:
        place = _parent(objects[kind, of], path)
        part, _, key = name.partition(".")
        assert place[path[-1]] == values[part][key], f"{name} has two defaults"
        place[path[-1]] = f"@@{name}@@"
    files = {
        f"templates/{kind.lower()}-{name}.yaml": _template(document, expressions)
        for (kind, name), document in objects.items()
    }
    files["Chart.yaml"] = yaml.safe_dump(
        {
            "apiVersion": "v2",
            "name": "weightslab",
            "description": "See which samples move the loss while a PyTorch model trains.",
            "type": "application",
            "version": VERSION,
            "appVersion": VERSION,
        },
        sort_keys=False,
    )
    files["values.yaml"] = (
        "# Made from deploy/k8s/overlays/production by `make manifests`.\n"
        "# `host` is the name of the page; gRPC for programs is at grpc.<host>.\n"
        "# The secret `weightslab-secrets` is made before; see docs/operations/deploy.md.\n"
    ) + yaml.safe_dump(values, sort_keys=False)
    return files


def _template(document: dict[str, Any], expressions: dict[str, str]) -> str:
    text = yaml.safe_dump(document, sort_keys=False, width=1000)
    text = re.sub(r"'?@@([\w.]+)@@'?", lambda found: expressions[found[1]], text)
    return text.replace(HOST, "{{ .Values.host }}")


def write(folder: Path) -> None:
    """Write everything below `folder`, which stands for the root of the checkout."""
    golden = folder / GOLDEN.relative_to(ROOT)
    golden.mkdir(parents=True)
    for overlay in ("local", "production"):
        (golden / f"{overlay}.yaml").write_text(rendered(overlay))
    chart = folder / CHART.relative_to(ROOT)
    for name, text in chart_files(rendered("production")).items():
        (chart / name).parent.mkdir(parents=True, exist_ok=True)
        (chart / name).write_text(text)


def _contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for made in (GOLDEN, CHART)
        for path in (folder / made.relative_to(ROOT)).rglob("*")
        if path.is_file()
    }


def main(arguments: list[str]) -> int:
    with tempfile.TemporaryDirectory() as made:
        write(Path(made))
        if arguments == ["--check"]:
            new, old = _contents(Path(made)), _contents(ROOT)
            stale = sorted(name for name in new.keys() | old.keys() if new.get(name) != old.get(name))
            if stale:
                print(f"not up to date, run `make manifests`: {', '.join(stale)}")
            return 1 if stale else 0
        for folder in (GOLDEN, CHART):
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(Path(made) / folder.relative_to(ROOT), folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
