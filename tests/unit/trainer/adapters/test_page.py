"""The snippets of `docs/frameworks.md` run, each with what its reader has before it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import weightslab as wl
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tests.unit.trainer.peers import Peer

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

PAGE = Path(__file__).resolve().parents[4] / "docs" / "frameworks.md"
FRAGMENTS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)


def _lightning(folder: Path) -> dict[str, Any]:
    return {"layers": nn.Linear(2, 2), "train_loader": _loader(), "val_loader": _loader()}


def _huggingface(folder: Path) -> dict[str, Any]:
    from transformers import BertConfig, BertForSequenceClassification, TrainingArguments

    config = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, vocab_size=9)
    dataset = [{"input_ids": torch.randint(9, (4,)), "labels": number % 2} for number in range(8)]
    return {
        "model": BertForSequenceClassification(config),
        "arguments": TrainingArguments(str(folder / "out"), use_cpu=True, report_to="none", num_train_epochs=1),
        "train_dataset": dataset,
        "eval_dataset": dataset,
    }


def _accelerate(folder: Path) -> dict[str, Any]:
    model = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return {"model": model, "optimizer": optimizer, "criterion": nn.CrossEntropyLoss(), "train_loader": _loader()}


def _loader() -> DataLoader[Any]:
    return DataLoader(TensorDataset(torch.randn(8, 2), torch.zeros(8, dtype=torch.int64)), batch_size=4)


CONTEXTS = {"lightning": _lightning, "transformers": _huggingface, "accelerate": _accelerate}


@pytest.mark.parametrize("framework", CONTEXTS)
async def test_a_snippet_of_the_page_trains_and_is_seen(
    framework: str, peer: Peer, nats_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (
        ("WL_NATS_URL", nats_url),
        ("WL_DATA_DIR", str(tmp_path)),
        ("WL_EXPERIMENT", peer.experiment),
        ("CLI_PORT", "0"),
    ):
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    (fragment,) = (fragment for fragment in FRAGMENTS if fragment.startswith(f"from {framework}"))
    exec(compile(fragment, str(PAGE), "exec"), CONTEXTS[framework](tmp_path))
    status = await peer.status_when(lambda status: status.step > 0, what="a step is told")
    wl.stop()
    assert status.step <= 4
