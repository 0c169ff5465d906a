"""The Dockerfile, without building it: `make images` builds and runs the images where buildah is."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.deployment import DEPLOY, DOCKERFILE, ROOT, inherited, settings_of, stages

SERVICES = ("ledger", "gateway", "ui")
FINAL = (*SERVICES, "setup", "trainer")
BIN = Path(sys.executable).parent


def test_hadolint_has_nothing_to_say() -> None:
    found = subprocess.run([str(BIN / "hadolint"), str(DOCKERFILE)], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout


def test_hadolint_is_really_run(tmp_path: Path) -> None:
    bad = tmp_path / "Dockerfile"
    bad.write_text("FROM python:latest\nRUN cd /tmp\n")
    assert subprocess.run([str(BIN / "hadolint"), str(bad)], capture_output=True).returncode != 0


@pytest.mark.parametrize("target", FINAL)
def test_an_image_runs_without_rights_and_says_what_it_is(target: str) -> None:
    lines = inherited(target)
    users = [line for line in lines if line.startswith("USER ")]
    assert users[-1] == "USER 65532:65532"
    assert not any(line.startswith("RUN ") for line in lines[lines.index(users[-1]) :]), "nothing is built as the user"
    assert any("org.opencontainers.image.version" in line for line in lines)
    assert any(line.startswith("HEALTHCHECK ") for line in lines)
    assert lines[-1].startswith("CMD [")
    assert not any(re.search(r"apt-get|\bgcc\b|build-essential|curl", line) for line in lines)


@pytest.mark.parametrize("target", SERVICES)
def test_a_service_has_only_what_it_runs(target: str) -> None:
    copied = [line for line in inherited(target) if line.startswith("COPY ")]
    assert copied == [f"COPY --from=install-{target} /opt/weightslab /opt/weightslab"]
    (installed,) = (line for line in stages()[f"install-{target}"].lines if " pip " in line)
    assert f"[{target}]" in installed
    assert "torch" not in installed
    assert "-c requirements/constraints.txt" in installed
    assert any("sbom.cdx.json" in line for line in stages()[f"install-{target}"].lines)


@pytest.mark.parametrize("target", SERVICES)
def test_settings_in_an_image_are_those_of_its_service(target: str) -> None:
    told = {name for line in inherited(target) if line.startswith("ENV ") for name in re.findall(r"(WL_\w+)=", line)}
    assert told
    # The base sets the data folder for all.
    assert told - {"WL_DATA_DIR"} <= settings_of(target)


def test_base_images_are_chosen_by_the_builder_and_pinned() -> None:
    text = DOCKERFILE.read_text()
    for argument in ("BUILD_IMAGE", "RUNTIME_IMAGE"):
        (default,) = re.findall(rf"^ARG {argument}=(\S+)$", text, re.MULTILINE)
        assert re.fullmatch(r"python:\d+\.\d+\.\d+-slim-\w+", default)
    outside = {stage.base for stage in stages().values()} - set(stages())
    assert outside == {"${BUILD_IMAGE}", "${RUNTIME_IMAGE}"}


def test_the_build_context_is_what_the_dockerfile_copies() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        source
        for line in stages()["wheel"].lines
        if line.startswith("COPY ")
        for source in line.removeprefix("COPY ").split()[:-1]
    }
    assert copied == allowed


def test_yaml_is_tidy() -> None:
    # Templates of the chart are no YAML until they are rendered.
    files = [str(path) for path in DEPLOY.rglob("*.yaml") if "templates" not in path.parts]
    assert len(files) > 5
    rules = "{extends: relaxed, rules: {line-length: {max: 200}}}"
    found = subprocess.run([str(BIN / "yamllint"), "-s", "-d", rules, *files], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout
