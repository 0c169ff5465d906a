"""The studio that the tests of faults share: they hurt it piece by piece, and each leaves it whole."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.faulty import FaultyStudio, faulty_studio


@pytest.fixture(scope="package")
def hurt_studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyStudio]:
    with faulty_studio(tmp_path_factory.mktemp("hurt-studio")) as studio:
        yield studio
