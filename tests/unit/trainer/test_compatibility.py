"""The older API in a loop that is not served, and served without a ledger."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import weightslab as wl
from torch import nn
from torch.utils.data import Dataset, TensorDataset
from weightslab import api, sample_edits, tracked
from weightslab.fold import Fold
from weightslab.identified import IdentifiedDataset
from weightslab_common.errors import FailedPrecondition, InvalidArgument, Unavailable

from tests.unit.trainer.peers import Peer
from tests.unit.trainer.runs import Numbered
from tests.unit.trainer.served import Script


class Named(Dataset[tuple[torch.Tensor, int, str]]):
    """Samples with a third part, and uids that are no numbers."""

    uids = ("a", "b", "c", "d")

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int, str]:
        return torch.full((2,), float(index)), index % 2, f"note {index}"


@pytest.fixture(autouse=True)
def nothing_was_warned_of() -> Iterator[None]:
    tracked._warned.clear()
    yield


def _published() -> dict[str, list[float]]:
    """Curves and values of samples that the publisher would send, by name."""
    fold = Fold(api._run().ring.take())
    found: dict[str, list[float]] = {}
    for curves in fold.signal_batches():
        for column in curves.columns:
            found[f"curve {column.signal}"] = memoryview(column.values).cast("d").tolist()  # type: ignore[assignment]
    for values in fold.value_batches():
        for each in values.columns:
            found[each.signal] = memoryview(each.values).cast("f").tolist()  # type: ignore[assignment]
    return found


def test_a_dataset_becomes_a_loader_of_input_uid_target() -> None:
    loader = wl.watch_or_edit(Numbered(10), flag="data", loader_name="train_loader", batch_size=4, is_training=True)
    batches = list(loader)
    assert len(loader) == 3
    for inputs, uids, targets in batches:
        assert uids.dtype is torch.int64
        assert inputs[:, 0].tolist() == uids.tolist()
        assert targets.tolist() == [uid % 3 for uid in uids.tolist()]
    assert [uid for _, uids, _ in batches for uid in uids.tolist()] == list(range(10))
    assert (loader.name, loader.split.name, loader.train) == ("train_loader", "train", True)


def test_the_dataset_of_a_loader_has_the_attributes_of_the_users() -> None:
    class Listed(Numbered):
        def __getitems__(self, indices: list[int]) -> list[tuple[torch.Tensor, int]]:
            return [self[index] for index in indices]

    loader = wl.watch_or_edit(Listed(6), flag="data", loader_name="train_loader", batch_size=3)
    assert loader.dataset.targets == [0, 1, 2, 0, 1, 2]
    assert [ids.tolist() for _, ids, _ in loader] == [[0, 1, 2], [3, 4, 5]]
    assert not hasattr(loader.dataset, "classes")
    assert len(pickle.loads(pickle.dumps(IdentifiedDataset([(1, 2)], ["a"])))) == 1


def test_the_rest_of_a_sample_follows_its_target_and_names_stay_text() -> None:
    loader = wl.watch_or_edit(Named(), flag="dataset", loader_name="test_loader", batch_size=4)
    ((_, uids, targets, notes),) = list(loader)
    assert list(uids) == ["a", "b", "c", "d"]
    assert targets.tolist() == [0, 1, 0, 1]
    assert list(notes) == ["note 0", "note 1", "note 2", "note 3"]
    assert not loader.train


def test_a_collate_function_gets_each_sample_with_its_uid() -> None:
    def collate(samples: list[tuple[Any, ...]]) -> list[Any]:
        return [uid for _, uid, *_ in samples]

    loader = wl.watch_or_edit(Numbered(5), flag="data", batch_size=2, drop_last=True, collate_fn=collate)
    assert list(loader) == [[0, 1], [2, 3]]


def test_next_goes_on_for_ever_in_training_and_ends_elsewhere() -> None:
    training = wl.watch_or_edit(Numbered(4), flag="data", loader_name="train_loader", batch_size=2)
    testing = wl.watch_or_edit(Numbered(4), flag="data", loader_name="test_loader", batch_size=2)
    assert [next(training)[1].tolist() for _ in range(5)] == [[0, 1], [2, 3], [0, 1], [2, 3], [0, 1]]
    assert [next(testing)[1].tolist() for _ in range(2)] == [[0, 1], [2, 3]]
    with pytest.raises(StopIteration):
        next(testing)
    assert next(testing)[1].tolist() == [0, 1]


def test_a_discarded_sample_is_not_drawn_and_the_images_are_those_of_the_dataset() -> None:
    dataset = Numbered(6)
    loader = wl.watch_or_edit(dataset, flag="data", loader_name="train", batch_size=2)
    assert loader.split.dataset is dataset
    loader.split.discard([1, 4], discarded=True)
    assert [uid for _, uids, _ in loader for uid in uids.tolist()] == [0, 2, 3, 5]


def test_a_watched_loss_takes_batch_ids_and_predictions() -> None:
    loader = wl.watch_or_edit(Numbered(4), flag="data", loader_name="train_loader", batch_size=4)
    criterion = wl.watch_or_edit(nn.CrossEntropyLoss(reduction="none"), flag="loss", signal_name="ce", log=True)
    logits = torch.randn(4, 3)
    _, uids, targets = next(loader)
    loss = criterion(logits, targets, batch_ids=uids, preds=logits.argmax(1), model_age=7)
    assert torch.equal(loss, nn.functional.cross_entropy(logits, targets, reduction="none"))
    published = _published()
    assert published["train/ce"] == pytest.approx(loss.tolist())
    assert published["train/prediction"] == logits.argmax(1).tolist()
    assert published["curve train/ce"] == pytest.approx([loss.mean().item()])


def test_predicted_masks_are_kept_and_boxes_are_left_aside(caplog: pytest.LogCaptureFixture) -> None:
    wl.watch_or_edit(Numbered(4), flag="data", loader_name="train_loader")
    masks = torch.tensor([[[0, 255], [7, 1]], [[3, 3], [0, 0]]])
    wl.save_signals({}, batch_ids=[2, 0], preds=masks)
    (record,) = api._run().predictions.take()
    assert record.batch.positions.tolist() == [2, 0]
    wl.save_signals({}, batch_ids=[2, 0], preds=[[1.0, 2.0, 3.0, 4.0], []])
    assert "neither one number nor one mask" in caplog.text
    assert not api._run().predictions.take()


def test_batch_ids_say_whose_values_they_are_whatever_was_drawn_last() -> None:
    wl.watch_or_edit(Numbered(4), flag="data", loader_name="train_loader", batch_size=4)
    criterion = wl.watch_or_edit(nn.MSELoss(reduction="none"), flag="loss", name="mse")
    criterion(torch.zeros(2), torch.tensor([1.0, 2.0]), batch_ids=torch.tensor([3, 1]))
    fold = Fold(api._run().ring.take())
    (values,) = fold.value_batches()
    assert memoryview(values.positions).cast("I").tolist() == [3, 1]
    assert memoryview(values.columns[0].values).cast("f").tolist() == [1.0, 4.0]


def test_a_name_with_a_slash_is_the_whole_name_of_curve_and_values() -> None:
    loader = wl.watch_or_edit(Numbered(4), flag="data", loader_name="train_loader", batch_size=4)
    criterion = wl.watch_or_edit(nn.MSELoss(reduction="none"), flag="loss", signal_name="fit/error")
    next(loader)
    criterion(torch.zeros(4), torch.ones(4))
    assert _published().keys() == {"curve fit/error", "fit/error", "fit/prediction"}


def test_a_metric_that_is_computed_publishes_what_it_computes() -> None:
    class Mean:
        def __init__(self) -> None:
            self.values: list[float] = []

        def update(self, value: float) -> None:
            self.values.append(value)

        def compute(self) -> torch.Tensor:
            return torch.tensor(sum(self.values) / len(self.values))

    metric = wl.watch_or_edit(Mean(), flag="metric", signal_name="val/mean")
    metric.update(1.0)
    metric.update(3.0)
    assert metric.compute().item() == 2.0
    assert _published() == {"curve val/mean": [2.0]}


def test_saved_signals_are_values_of_samples_and_their_mean_a_curve() -> None:
    wl.watch_or_edit(Numbered(4), flag="data", loader_name="train_loader", batch_size=4)
    wl.save_signals(
        {"score": torch.tensor([1.0, 3.0]), "own/name": [2.0, 4.0], "rate": 0.5, "notes": ["x", "y"]},
        batch_ids=torch.tensor([2, 0]),
        preds=torch.tensor([[1], [2]]),
        targets=torch.tensor([1, 2]),
    )
    wl.save_signals(batch_ids=[1], signals={"hidden": torch.tensor([9.0])}, log=False)
    assert _published() == {
        "curve train/score": [2.0],
        "curve own/name": [3.0],
        "curve train/rate": [0.5],
        "train/score": [1.0, 3.0],
        "own/name": [2.0, 4.0],
        "train/prediction": [1.0, 2.0],
        "train/hidden": [9.0],
    }


def test_saved_signals_of_the_wrong_length_are_refused() -> None:
    wl.watch_or_edit(Numbered(4), flag="data", loader_name="train_loader")
    with pytest.raises(InvalidArgument, match="score has 3 values for 2 batch_ids"):
        wl.save_signals({"score": torch.zeros(3)}, batch_ids=[0, 1])
    with pytest.raises(InvalidArgument, match="no sample '77'"):
        wl.save_signals({"score": torch.zeros(1)}, batch_ids=[77])


def test_the_guards_set_the_models_to_training_and_evaluation() -> None:
    model = wl.watch_or_edit(nn.Dropout(), flag="model", device="cpu")
    with wl.guard_testing_context:
        assert not model.training
    with wl.guard_training_context:
        assert model.training
    assert model.get_age() == 0
    from weightslab.components.global_monitoring import guard_training_context

    assert guard_training_context is wl.guard_training_context


def test_hyperparameters_come_from_a_dict_a_file_and_defaults(tmp_path: Path) -> None:
    given = {"lr": 0.1}
    assert wl.watch_or_edit(given, flag="hp", defaults={"lr": 9.0, "steps": 5}, poll_interval=1.0) is given
    assert given == {"lr": 0.1, "steps": 5}
    wl.stop()
    path = tmp_path / "config.yaml"
    path.write_text("optimizer:\n  lr: 0.25\n")
    read = wl.watch_or_edit(str(path), flag="hyperparameters", defaults={"epochs": 3})
    assert read == {"optimizer": {"lr": 0.25}, "epochs": 3}
    assert api._run().hyperparameters.applied() == {"optimizer.lr": 0.25, "epochs": 3}


def test_what_means_nothing_here_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    for name in ("train_loader", "test_loader"):
        wl.watch_or_edit(Numbered(4), flag="data", loader_name=name, compute_hash=False, preload_labels=True)
    assert [record.getMessage() for record in caplog.records] == [
        "watch_or_edit with flag 'data': compute_hash, preload_labels has no meaning here and is left aside"
    ]


def test_without_a_flag_things_are_told_apart_and_an_unknown_flag_is_refused() -> None:
    model = nn.Linear(2, 2)
    assert wl.watch_or_edit(model) is model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    assert wl.watch_or_edit(optimizer) is optimizer
    assert callable(wl.watch_or_edit(nn.MSELoss()))
    assert len(wl.watch_or_edit(TensorDataset(torch.zeros(3, 1)), batch_size=2)) == 2
    logger = object()
    assert wl.watch_or_edit(logger, flag="logger") is logger
    with pytest.raises(InvalidArgument, match="there is no flag 'modle'; there are: model"):
        wl.watch_or_edit(model, flag="modle")
    with pytest.raises(InvalidArgument, match="say by `flag` what a object is"):
        wl.watch_or_edit(object())


def test_tags_need_a_served_run() -> None:
    with pytest.raises(FailedPrecondition, match=r"call serve\(\) first"):
        wl.tag_samples([1], "hard")


async def test_without_a_ledger_the_error_says_so(
    script: Callable[..., Script], peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample_edits, "_LEDGER_SECS", 0.2)
    script()
    await peer.attached()
    with pytest.raises(Unavailable, match="the ledger does not answer"):
        wl.discard_samples([1, 2])
    with pytest.raises(InvalidArgument, match="no sample '4000'"):
        wl.discard_samples([4000])
    with pytest.raises(InvalidArgument, match="there is no mode 'toggle'"):
        wl.tag_samples([1], "hard", mode="toggle")
