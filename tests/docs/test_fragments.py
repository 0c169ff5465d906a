"""Snippets that are lines of a longer script are run in one: what stands before them is here."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

LOOP = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
model = nn.Linear(2, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
criterion = nn.CrossEntropyLoss()
loader = DataLoader(TensorDataset(torch.randn(8, 2), torch.zeros(8, dtype=torch.int64)), batch_size=4)
"""
OPTIONS = """
import dataclasses, pathlib
import weightslab as wl
pathlib.Path("options.yaml").write_text("schedule: {gamma: 0.9}")
@dataclasses.dataclass
class Options:
    depth: int = 3
"""
STREAM = """
import weightslab as wl
from torch.utils.data import DataLoader, IterableDataset
class Stream(IterableDataset):
    def __iter__(self):
        return iter({"name": name, "value": number} for number, name in enumerate(names))
names = [f"n{number}" for number in range(64)]
stream = Stream()
"""
CONTEXTS = {
    "checkpoints.md": ("import weightslab as wl", "wl.stop()"),
    "model-signals.md": (f"import weightslab as wl\n{LOOP}", "assert model(torch.zeros(1, 2)).shape == (1, 2)"),
    "README.md": (LOOP, "assert len([criterion(model(inputs), targets) for inputs, targets in loader]) == 2"),
    "hyperparameters.md": (OPTIONS, "assert options == {'schedule': {'gamma': 0.9}}"),
    "samples.md": (STREAM, "assert [len(batch['name']) for batch in loader] == [32, 32]"),
}


@pytest.mark.parametrize("page", CONTEXTS)
def test_a_fragment_runs_in_a_script(page: str, nats_url: str, tmp_path: Path) -> None:
    before, after = CONTEXTS[page]
    path = ROOT / page if page == "README.md" else ROOT / "docs" / page
    fragments = re.findall(r"```python\n(.*?)```", path.read_text(), re.S)
    assert fragments
    environment = {
        **os.environ,
        "WL_NATS_URL": nats_url,
        "WL_DATA_DIR": str(tmp_path / "data"),
        "WL_EXPERIMENT": f"fragment-{path.stem.lower()}",
        "CLI_PORT": "0",
        "PYTHONWARNINGS": "error",
    }
    ran = subprocess.run(
        [sys.executable, "-c", "\n".join([before, *fragments, after])],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
