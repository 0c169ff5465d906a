"""A watched loss returns what the user's loss returns, to the last bit, and hands off the values of the samples."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader
from weightslab.fold import Fold
from weightslab.losses import Watched, WatchedLoss
from weightslab.records import Record
from weightslab.run import Run
from weightslab_common.columns import F32, F64, U32, unpack
from weightslab_common.errors import InvalidArgument

from tests.unit.trainer.runs import Numbered, watched

LOGITS = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
CLASSES = torch.tensor([0, 2, 1, 1])
NUMBERS = torch.randn(4, 3, generator=torch.Generator().manual_seed(2))


@pytest.fixture
def run() -> Run:
    """A run with the batch of samples 0 to 3 current."""
    run = Run()
    iterator = iter(watched(run, DataLoader(Numbered(8), batch_size=4)))
    next(iterator)
    run.unfinished = iterator  # type: ignore[attr-defined]
    return run


def _loss(run: Run, criterion: Any, name: str = "loss", per_sample: Any = None) -> WatchedLoss:
    return WatchedLoss(criterion, run=run, name=name, per_sample=per_sample)


def _published(run: Run) -> tuple[dict[str, list[float]], dict[str, list[float]], list[int]]:
    """Points by signal, values by signal, positions."""
    fold = Fold(run.ring.take())
    points = {
        column.signal: unpack(column.values, F64).tolist()
        for batch in fold.signal_batches()
        for column in batch.columns
    }
    values: dict[str, list[float]] = {}
    positions: list[int] = []
    for batch in fold.value_batches():
        positions = unpack(batch.positions, U32).tolist()
        values |= {column.signal: unpack(column.values, F32).tolist() for column in batch.columns}
    return points, values, positions


CRITERIA: dict[str, tuple[Any, torch.Tensor]] = {
    "cross entropy": (nn.CrossEntropyLoss(), CLASSES),
    "weighted": (nn.CrossEntropyLoss(weight=torch.tensor([0.2, 1.0, 3.0])), CLASSES),
    "sum": (nn.CrossEntropyLoss(reduction="sum"), CLASSES),
    "smoothed": (nn.CrossEntropyLoss(label_smoothing=0.1), CLASSES),
    "function": (functional.cross_entropy, CLASSES),
    "soft targets": (nn.CrossEntropyLoss(), NUMBERS.softmax(1)),
    "squared": (nn.MSELoss(), NUMBERS),
    "binary": (nn.BCEWithLogitsLoss(), NUMBERS.sigmoid()),
    "own": (lambda outputs, targets: (outputs - targets).abs().mean(), NUMBERS),
}


@pytest.mark.parametrize("kind", CRITERIA)
def test_value_and_gradient_are_bit_identical(run: Run, kind: str) -> None:
    criterion, targets = CRITERIA[kind]
    results = []
    for call in (criterion, _loss(run, criterion)):
        logits = LOGITS.clone().requires_grad_()
        stream = torch.get_rng_state()
        result = call(logits, targets)
        result.backward()
        assert torch.equal(torch.get_rng_state(), stream)
        assert logits.grad is not None
        results.append((result.detach(), logits.grad))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


@pytest.mark.parametrize("kind", ["cross entropy", "weighted", "sum", "smoothed", "squared", "binary", "function"])
def test_values_of_samples_are_those_without_reduction(run: Run, kind: str) -> None:
    criterion, targets = CRITERIA[kind]
    result = _loss(run, criterion)(LOGITS, targets)
    if isinstance(criterion, nn.Module):
        unreduced = type(criterion)(
            reduction="none",
            **{key: getattr(criterion, key) for key in ("weight", "label_smoothing") if hasattr(criterion, key)},
        )(LOGITS, targets)
    else:
        unreduced = criterion(LOGITS, targets, reduction="none")
    expected = unreduced.reshape(4, -1).mean(1)
    points, values, positions = _published(run)
    assert positions == [0, 1, 2, 3]
    np.testing.assert_allclose(values["train/loss"], expected, rtol=1e-5)
    np.testing.assert_allclose(points["train/loss"], [result.item()], rtol=1e-6)


def test_a_classification_loss_also_tells_confidence_margin_correctness_el2n_and_prediction(run: Run) -> None:
    _loss(run, nn.CrossEntropyLoss())(LOGITS, CLASSES)
    _, values, _ = _published(run)
    assert sorted(values) == [
        "train/confidence",
        "train/correct",
        "train/el2n",
        "train/loss",
        "train/margin",
        "train/prediction",
    ]
    assert values["train/prediction"] == LOGITS.argmax(1).float().tolist()


def test_a_second_classification_loss_tells_only_its_loss(run: Run) -> None:
    _loss(run, nn.CrossEntropyLoss())
    _loss(run, nn.CrossEntropyLoss(), name="auxiliary")(LOGITS, CLASSES)
    _, values, _ = _published(run)
    assert list(values) == ["train/auxiliary"]


def test_a_segmentation_loss_gives_the_mean_over_the_pixels_of_each_sample(run: Run) -> None:
    logits, masks = torch.randn(4, 3, 5, 5), torch.randint(3, (4, 5, 5))
    _loss(run, nn.CrossEntropyLoss())(logits, masks)
    _, values, _ = _published(run)
    expected = functional.cross_entropy(logits, masks, reduction="none").flatten(1).mean(1)
    assert list(values) == ["train/loss"]
    np.testing.assert_allclose(values["train/loss"], expected, rtol=1e-5)


def test_a_criterion_that_returns_one_value_per_sample_is_taken_as_it_is(run: Run) -> None:
    returned = _loss(run, lambda outputs, targets: (outputs - targets).abs().mean(1))(LOGITS, NUMBERS)
    points, values, _ = _published(run)
    np.testing.assert_allclose(values["train/loss"], returned, rtol=1e-6)
    np.testing.assert_allclose(points["train/loss"], [returned.mean()], rtol=1e-6)


def test_a_criterion_of_the_user_is_called_once_and_per_sample_gives_the_values(run: Run) -> None:
    calls = []

    def criterion(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return (outputs - targets).abs().mean()

    _loss(run, criterion, per_sample=lambda outputs, targets: (outputs - targets).abs().mean(1))(LOGITS, NUMBERS)
    _, values, _ = _published(run)
    assert len(calls) == 1
    np.testing.assert_allclose(values["train/loss"], (LOGITS - NUMBERS).abs().mean(1), rtol=1e-6)


def test_a_loss_that_is_scaled_in_place_afterwards_was_published_as_it_was(run: Run) -> None:
    with torch.no_grad():
        loss = _loss(run, nn.CrossEntropyLoss())(LOGITS, CLASSES)
        before = loss.item()
        loss /= 4
    points, _, _ = _published(run)
    np.testing.assert_allclose(points["train/loss"], [before], rtol=1e-6)


def test_a_batch_of_another_size_gives_a_point_but_no_values_and_says_so_once(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    loss = _loss(run, nn.CrossEntropyLoss())
    for _ in range(2):
        loss(LOGITS[:3], CLASSES[:3])
    points, values, _ = _published(run)
    assert len(points["train/loss"]) == 2
    assert not values
    assert len([record for record in caplog.records if "give `uids=`" in record.message]) == 1


def test_uids_say_whose_values_they_are(run: Run) -> None:
    _loss(run, nn.CrossEntropyLoss())(LOGITS[:2], CLASSES[:2], uids=[7, "5"])
    _, _, positions = _published(run)
    assert positions == [7, 5]
    with pytest.raises(InvalidArgument, match="split 'train' has no sample '99'"):
        _loss(run, nn.CrossEntropyLoss())(LOGITS[:2], CLASSES[:2], uids=[1, 99])


def test_a_metric_is_named_by_the_split_unless_it_names_one(run: Run) -> None:
    assert Watched(lambda: 0.5, run=run, name="accuracy")() == 0.5
    assert Watched(lambda: 0.25, run=run, name="val/accuracy")() == 0.25
    points, _, _ = _published(run)
    assert points == {"train/accuracy": [0.5], "val/accuracy": [0.25]}


def test_attributes_are_those_of_the_users_criterion(run: Run) -> None:
    assert _loss(run, nn.CrossEntropyLoss(label_smoothing=0.3)).label_smoothing == 0.3


def test_a_loss_over_one_number_per_sample_tells_the_prediction_and_its_error(run: Run) -> None:
    outputs, targets = NUMBERS[:, :1], LOGITS[:, :1]
    _loss(run, nn.MSELoss())(outputs, targets)
    _, values, _ = _published(run)
    assert sorted(values) == ["train/error", "train/loss", "train/prediction"]
    assert values["train/prediction"] == outputs[:, 0].tolist()
    np.testing.assert_allclose(values["train/error"], (outputs - targets).abs()[:, 0], rtol=1e-6)


def test_a_binary_loss_tells_prediction_confidence_and_correctness(run: Run) -> None:
    logits, targets = torch.tensor([2.0, -1.0, 0.5, -3.0]), torch.tensor([1.0, 1.0, 0.0, 0.0])
    _loss(run, nn.BCEWithLogitsLoss())(logits, targets)
    _, values, _ = _published(run)
    assert values["train/prediction"] == [1, 0, 1, 0]
    assert values["train/correct"] == [1, 0, 0, 1]
    expected = torch.where(targets == 1, logits.sigmoid(), 1 - logits.sigmoid())
    np.testing.assert_allclose(values["train/confidence"], expected, rtol=1e-5)


def test_a_loss_over_boxes_leaves_the_prediction_to_the_classification_loss(run: Run) -> None:
    boxes = _loss(run, nn.SmoothL1Loss(), name="boxes")
    classes = _loss(run, nn.CrossEntropyLoss(), name="classes")
    boxes(NUMBERS, LOGITS)
    classes(LOGITS, CLASSES)
    _, values, _ = _published(run)
    assert values["train/prediction"] == LOGITS.argmax(1).float().tolist()


def test_a_model_that_holds_its_watched_loss_can_be_copied_and_pickled(run: Run) -> None:
    model: Any = nn.Linear(2, 3)
    model.criterion = WatchedLoss(nn.CrossEntropyLoss(), run=run, name="loss", per_sample=None)
    outputs, targets = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    copied = copy.deepcopy(model).criterion(outputs, targets)
    assert [record.result for record in run.ring.take() if isinstance(record, Record)] == [copied.item()]
    pickled = pickle.loads(pickle.dumps(model)).criterion(outputs, targets)
    assert torch.equal(copied, pickled)
    assert run.ring.take() == []


def test_a_criterion_that_is_moved_stays_watched(run: Run) -> None:
    criterion = WatchedLoss(nn.CrossEntropyLoss(), run=run, name="loss", per_sample=None)
    assert criterion.to("cpu") is criterion
    assert criterion.eval().double() is criterion
    assert not criterion.training


def test_arguments_that_are_named_give_values_of_samples_too(run: Run) -> None:
    criterion = WatchedLoss(nn.CrossEntropyLoss(label_smoothing=0.1), run=run, name="loss", per_sample=None)
    function = WatchedLoss(functional.cross_entropy, run=run, name="function", per_sample=None)
    criterion(input=LOGITS, target=CLASSES)
    function(input=LOGITS, target=CLASSES, label_smoothing=0.1)
    records = [record for record in run.ring.take() if isinstance(record, Record)]
    first, second = (record.derive(record.columns) if record.derive else record.columns for record in records)
    np.testing.assert_allclose(first["loss"], second["function"], rtol=1e-6)
