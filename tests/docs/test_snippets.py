"""Every snippet of the pages is run: here against the demo's run, or by the test that is named for its page."""

from __future__ import annotations

import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from weightslab_proto.weightslab.v1 import EditOperation, EditSamplesRequest, Query, Target

from tests.support.background import with_api
from tests.support.studio import EXPERIMENT, Api, Studio

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

# Pages whose snippets need something of their own around them, and the test that gives it to them.
RUN_BY = {
    "README.md": "tests/docs/test_fragments.py",
    "checkpoints.md": "tests/docs/test_fragments.py",
    "console.md": "tests/integration/test_console.py",
    "frameworks.md": "tests/unit/trainer/adapters/test_page.py",
    "getting-started.md": "tests/integration/test_getting_started.py",
    "hyperparameters.md": "tests/docs/test_fragments.py",
    "model-signals.md": "tests/docs/test_fragments.py",
    "samples.md": "tests/docs/test_fragments.py",
}


@dataclass(frozen=True, slots=True)
class Snippet:
    page: Path
    number: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.stem}-{self.number}"

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-c", self.text] if self.language == "python" else ["bash", "-ec", self.text]


def snippets() -> list[Snippet]:
    """What can be run, in the order of its page: an example of what one sees has no language."""
    return [
        Snippet(page, number, language, text)
        for page in PAGES
        for number, (language, text) in enumerate(re.findall(r"```(python|sh)\n(.*?)```", page.read_text(), re.S))
        if "make " not in text
    ]


@pytest.fixture(scope="module")
def folder(studio: Studio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where a reader types, with the files that the pages speak of; what the snippets edit is taken back after."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "tags.csv").write_text("split,uid,tag\ntrain,7,from a file\n")
    yield folder

    async def take_back(api: Api) -> None:
        for operation in (EditOperation.RESTORE, EditOperation.CLEAR_TAGS):
            await api.samples.edit_samples(
                EditSamplesRequest(
                    experiment=EXPERIMENT,
                    edit_id=uuid.uuid4().hex,
                    operation=operation,
                    target=Target(query=Query()),
                )
            )

    with_api(studio, take_back)


@pytest.mark.parametrize("snippet", [each for each in snippets() if each.page.name not in RUN_BY], ids=str)
def test_a_snippet_does_what_it_says(snippet: Snippet, studio: Studio, folder: Path) -> None:
    environment = {
        **studio.environment,
        "PATH": f"{Path(sys.executable).parent}:{studio.environment['PATH']}",
        "PYTHONWARNINGS": "error",
    }
    ran = subprocess.run(
        snippet.command, cwd=folder, env=environment, capture_output=True, text=True, timeout=90, check=False
    )
    assert ran.returncode == 0, f"{snippet.text}\n{ran.stdout}{ran.stderr}"


@pytest.mark.parametrize("page", RUN_BY)
def test_a_page_with_a_test_of_its_own_is_run_there(page: str) -> None:
    assert page in {each.page.name for each in snippets()}, "the page has no snippet any more"
    assert page in (ROOT / RUN_BY[page]).read_text()
