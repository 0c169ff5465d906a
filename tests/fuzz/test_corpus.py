"""Every input that once taught something is given to its target again, and so are the seeds and their cut-off parts."""

from __future__ import annotations

import pytest

from tests.fuzz import targets
from tests.fuzz.run import CORPUS


@pytest.mark.parametrize("name", targets.names())
def test_what_a_fuzzer_found_does_no_harm_any_more(name: str) -> None:
    target = targets.load(name)
    kept = [path.read_bytes() for path in sorted((CORPUS / name).glob("*"))]
    cut = [seed[:end] for seed in target.seeds for end in range(0, len(seed), max(1, len(seed) // 40))]
    for data in [*kept, *target.seeds, *cut]:
        target.attack(data)


def test_every_folder_of_the_corpus_has_a_target() -> None:
    assert {path.name for path in CORPUS.iterdir()} <= set(targets.names())
