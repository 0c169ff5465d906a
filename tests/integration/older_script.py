"""A script written for the older API, as users have it. Writes what it saw to the file it is given."""

from __future__ import annotations

import json
import sys
from typing import Any

import torch
import weightslab as wl
from torch import nn
from torch.utils.data import TensorDataset
from weightslab.components.global_monitoring import guard_testing_context, guard_training_context

STEPS = 12


def train(loader: Any, model: Any, optimizer: Any, criterion: Any) -> Any:
    with guard_training_context:
        inputs, ids, labels = next(loader)
        optimizer.zero_grad()
        outputs = model(inputs)
        loss = criterion(outputs.float(), labels.long(), batch_ids=ids, preds=outputs.argmax(dim=1, keepdim=True))
        loss.mean().backward()
        optimizer.step()
    return ids.tolist()


def test(loader: Any, model: Any, criterion: Any) -> None:
    with guard_testing_context, torch.no_grad():
        for inputs, ids, labels in loader:
            outputs = model(inputs)
            criterion(outputs, labels, batch_ids=ids)
            correct = (outputs.argmax(1) == labels).float()
            wl.save_signals(
                preds_raw=outputs, targets=labels, batch_ids=ids, signals={"test/correct": correct}, preds=None
            )


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    parameters: Any = {"optimizer": {"lr": 0.1}, "data": {"train_loader": {"batch_size": 8}}}
    wl.watch_or_edit(parameters, flag="hyperparameters", defaults=parameters, poll_interval=1.0)
    model = wl.watch_or_edit(nn.Linear(4, 3), flag="model", device=torch.device("cpu"))
    optimizer = wl.watch_or_edit(
        torch.optim.Adam(model.parameters(), lr=parameters["optimizer"]["lr"]), flag="optimizer"
    )
    loaders = [
        wl.watch_or_edit(
            TensorDataset(torch.randn(count, 4), torch.arange(count) % 3),
            flag="data",
            loader_name=name,
            batch_size=8,
            shuffle=is_training,
            is_training=is_training,
            compute_hash=False,
        )
        for name, count, is_training in (("train_loader", 40, True), ("test_loader", 16, False))
    ]
    criterions = [
        wl.watch_or_edit(
            nn.CrossEntropyLoss(reduction="none"), flag="loss", signal_name=name, per_sample=True, log=True
        )
        for name in ("train/loss", "test/loss")
    ]
    wl.serve(serving_grpc=True, serving_cli=False)
    wl.start_training(timeout=0)
    for _ in range(STEPS):
        train(loaders[0], model, optimizer, criterions[0])
    test(loaders[1], model, criterions[1])

    wl.tag_samples([1, 5, 7], 'hard "one"', mode="add")
    wl.tag_samples(torch.tensor([7]), 'hard "one"', mode="remove")
    wl.discard_samples([3, 4], discarded=True, origin="train_loader")
    drawn = {uid for _ in range(10) for uid in train(loaders[0], model, optimizer, criterions[0])}
    seen = {
        "tagged": wl.get_samples_by_tag('hard "one"', origin="train_loader"),
        "first": wl.get_samples_by_tag('hard "one"', limit=1),
        "discarded": wl.get_discarded_samples(origin="train"),
        "elsewhere": wl.get_discarded_samples(origin="test_loader"),
        "drawn": sorted(drawn),
        "age": model.get_age(),
    }
    wl.discard_samples([3], discarded=False, origin="train_loader")
    seen["left"] = wl.get_discarded_samples()
    with open(sys.argv[1], "w") as file:
        json.dump(seen, file)
    wl.keep_serving(timeout=0.5)


if __name__ == "__main__":
    main()
