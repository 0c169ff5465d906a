"""Predictions go from a loss, or from the loop, into the store and come out as pixels, exact, of any kept epoch."""

from __future__ import annotations

import io
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import weightslab as wl
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from weightslab import predictions
from weightslab.losses import WatchedLoss
from weightslab.media_source import MediaSource, MediaSplit
from weightslab.prediction_store import Kept, PredictionStore, mask_entry
from weightslab.records import AUDIT_MODE, Batch, Moment
from weightslab.run import Run
from weightslab.split import Split
from weightslab_common.columns import F32, U32, unpack
from weightslab_common.errors import InvalidArgument, NotFound
from weightslab_common.media import Layer
from weightslab_common.media import Picture as Shown

from tests.unit.trainer.runs import split_of, watched

MASK = np.array([[0, 1, 2, 255], [0, 0, 255, 2]], dtype=np.int64)


class Masks(Dataset[Any]):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Any:
        return torch.full((1, 2, 4), float(index)), torch.from_numpy(MASK)


class Boxes(Dataset[Any]):
    """One sample of 40x20 pixels with two boxes."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Any:
        corners = torch.tensor([[1.0, 2.0, 9.0, 8.0], [20.0, 5.0, 30.0, 15.0]])
        return torch.zeros(3, 20, 40), {"boxes": corners, "labels": torch.tensor([1, 2])}


class Served:
    """A split, the store of its predictions and the source that shows both."""

    def __init__(self, folder: Path, dataset: Dataset[Any]) -> None:
        self.split: Split = split_of(dataset)
        self.store = PredictionStore(folder / "predictions.db")
        self.source = MediaSource(predictions=self.store.path)
        catalog = self.split.catalog
        self.source.add(MediaSplit("train", dataset, catalog.uids, catalog.registration_id))

    def keep(self, record: predictions.PredictionRecord) -> None:
        self.store.put(predictions.entries(record))

    def batch(self, *positions: int, epoch: int = 0) -> Batch:
        return Batch(self.split, np.array(positions, dtype=np.uint32), epoch)

    def get(self, layer: str, uid: str = "0", **options: Any) -> Shown:
        return self.source.get(Layer("train", layer=layer, **options), uid)

    def pixels(self, layer: str, uid: str = "0", **options: Any) -> Any:
        return np.asarray(Image.open(io.BytesIO(self.get(layer, uid, **options).content)))


def _moment(step: int = 0) -> Moment:
    return Moment("main", 1, step)


def test_a_segmentation_loss_keeps_the_predicted_mask_of_each_sample(tmp_path: Path) -> None:
    run, served = Run(), Served(tmp_path, Masks())
    iterator = iter(watched(run, DataLoader(served.split.dataset, batch_size=4)))
    next(iterator)
    logits = torch.randn(4, 300, 2, 4)
    WatchedLoss(nn.CrossEntropyLoss(ignore_index=255), run=run, name="loss", per_sample=None)(
        logits, torch.from_numpy(MASK).expand(4, 2, 4)
    )
    for record in run.predictions.take():
        served.keep(record)
    for index in range(4):
        assert served.pixels("pred", str(index)).tolist() == logits.argmax(1)[index].tolist()


def test_a_binary_loss_over_pixels_keeps_class_1_above_0(tmp_path: Path) -> None:
    run, served = Run(), Served(tmp_path, Masks())
    iterator = iter(watched(run, DataLoader(served.split.dataset, batch_size=4)))
    next(iterator)
    logits = torch.randn(4, 1, 2, 4)
    WatchedLoss(nn.BCEWithLogitsLoss(), run=run, name="loss", per_sample=None)(logits, torch.zeros(4, 1, 2, 4))
    for record in run.predictions.take():
        served.keep(record)
    assert served.pixels("pred", "3").tolist() == (logits[3, 0] > 0).int().tolist()


def test_an_audit_keeps_no_prediction() -> None:
    run = Run()
    iterator = iter(watched(run, DataLoader(Masks(), batch_size=4)))
    next(iterator)
    run.mode = AUDIT_MODE
    WatchedLoss(nn.CrossEntropyLoss(ignore_index=255), run=run, name="loss", per_sample=None)(
        torch.randn(4, 3, 2, 4), torch.zeros(4, 2, 4, dtype=torch.int64)
    )
    assert run.predictions.take() == []


def test_large_logits_are_reduced_where_they_are_and_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    logits = torch.randn(2, 5, 3, 4)
    batch = Batch(split_of(Masks()), np.array([0, 1], dtype=np.uint32), 0)
    copied = predictions.of_logits(_moment(), batch, logits)
    monkeypatch.setattr(predictions, "_COPIED_LOGITS_BYTES", 0)
    reduced = predictions.of_logits(_moment(), batch, logits)
    assert list(copied.columns) == ["logits"]
    assert list(reduced.columns) == ["masks"]
    assert list(predictions.entries(copied)) == list(predictions.entries(reduced))


def test_class_ids_of_masks_are_exact_and_ground_truth_too(tmp_path: Path) -> None:
    served = Served(tmp_path, Masks())
    served.keep(predictions.of_masks(_moment(), served.batch(1), torch.from_numpy(MASK)[None]))
    assert served.pixels("pred", "1").tolist() == MASK.tolist()
    assert served.pixels("gt", "1").tolist() == MASK.tolist()
    many = torch.tensor([[[0, 256, 65535, 255]]], dtype=torch.int32)
    served.keep(predictions.of_masks(_moment(), served.batch(2), many))
    assert served.pixels("pred", "2").tolist() == many[0].tolist()


def test_slice_k_of_a_predicted_volume_is_its_slice_k(tmp_path: Path) -> None:
    served = Served(tmp_path, Masks())
    volume = torch.arange(3 * 5 * 6).reshape(1, 3, 5, 6)
    served.keep(predictions.of_masks(_moment(), served.batch(0), volume))
    for z in range(3):
        assert served.pixels("pred", slice=z).tolist() == volume[0, z].tolist()
    with pytest.raises(InvalidArgument, match="slice 3 does not exist: the mask has 3"):
        served.get("pred", slice=3)


def test_the_difference_tells_true_and_false_positives_false_negatives_and_confused(tmp_path: Path) -> None:
    served = Served(tmp_path, Masks())
    predicted = torch.tensor([[[1, 1, 255, 0], [0, 2, 255, 0]]])
    served.keep(predictions.of_masks(_moment(), served.batch(0), predicted))
    assert served.pixels("diff").tolist() == [[2, 1, 4, 3], [0, 2, 1, 3]]


def test_the_newest_prediction_is_shown_and_those_of_earlier_epochs_on_request(tmp_path: Path) -> None:
    served = Served(tmp_path, Masks())
    for epoch in range(3):
        mask = torch.full((1, 2, 4), epoch)
        served.keep(predictions.of_masks(_moment(10 * epoch), served.batch(0, epoch=epoch), mask))
    assert served.pixels("pred")[0, 0] == 2
    assert served.pixels("pred", epoch=0)[0, 0] == 0
    assert served.get("pred").version != served.get("pred", epoch=1).version
    with pytest.raises(NotFound, match="no prediction of epoch 7 is kept for sample '0' of split 'train'"):
        served.get("pred", epoch=7)


def test_boxes_are_told_exactly_and_outlined(tmp_path: Path) -> None:
    served = Served(tmp_path, Boxes())
    found = [
        {
            "boxes": torch.tensor([[1.0, 2.0, 9.0, 8.0], [0.0, 12.0, 5.0, 18.5]]),
            "labels": torch.tensor([1, 0]),
            "scores": torch.tensor([0.75, 0.5]),
        }
    ]
    served.keep(predictions.of_boxes(_moment(), served.batch(0), found))
    reply = served.get("pred")
    assert reply.boxes is not None
    assert unpack(reply.boxes.corners, F32).tolist() == [1.0, 2.0, 9.0, 8.0, 0.0, 12.0, 5.0, 18.5]
    assert unpack(reply.boxes.labels, U32).tolist() == [1, 0]
    assert unpack(reply.boxes.scores, F32).tolist() == [0.75, 0.5]
    drawn = served.pixels("pred")
    assert drawn.shape == (20, 40)
    expected = np.zeros((20, 40), dtype=int)
    for (left, top, right, bottom), value in (((1, 2, 9, 8), 1), ((0, 12, 5, 18), 255)):
        expected[[top, bottom], left : right + 1] = value
        expected[top : bottom + 1, [left, right]] = value
    assert drawn.tolist() == expected.tolist()
    truth = served.get("gt").boxes
    assert truth is not None
    assert unpack(truth.labels, U32).tolist() == [1, 2]
    assert np.isnan(unpack(truth.scores, F32)).all()


def test_outlines_stay_whole_when_the_picture_is_shrunk(tmp_path: Path) -> None:
    drawn = Served(tmp_path, Boxes()).pixels("gt", size_px=10)
    assert drawn.shape == (5, 10)
    assert drawn[1, 5:8].tolist() == [2, 2, 2]


@pytest.mark.parametrize(
    ("predicted", "verdicts"),
    [
        ({"boxes": [[1, 2, 9, 8], [20, 5, 30, 15]], "labels": [1, 2]}, {1}),
        ({"boxes": [[1, 2, 9, 8], [20, 5, 30, 15]], "labels": [1, 1]}, {1, 4}),
        ({"boxes": [[1, 2, 9, 8]], "labels": [1]}, {1, 3}),
        ({"boxes": [[30, 16, 36, 19]], "labels": [1]}, {2, 3}),
        ({"boxes": [[1, 2, 9, 8], [1, 2, 9, 7]], "labels": [1, 1], "scores": [0.9, 0.8]}, {1, 2, 3}),
        ({"boxes": []}, {3}),
    ],
)
def test_boxes_are_compared_by_their_overlap(tmp_path: Path, predicted: dict[str, Any], verdicts: set[int]) -> None:
    served = Served(tmp_path, Boxes())
    served.keep(predictions.of_boxes(_moment(), served.batch(0), [predicted]))
    assert set(np.unique(served.pixels("diff")).tolist()) - {0} == verdicts


def test_a_wrong_prediction_is_refused_in_the_loop() -> None:
    loader = wl.watch_loader(DataLoader(Masks(), batch_size=4))
    iterator = iter(loader)
    next(iterator)
    with pytest.raises(InvalidArgument, match="split 'train' has no sample 'x'"):
        wl.log_predictions(["x"], masks=torch.zeros(1, 2, 4, dtype=torch.int64))
    with pytest.raises(InvalidArgument, match="masks has 2 entries, 1 uids were given"):
        wl.log_predictions(["0"], masks=torch.zeros(2, 2, 4, dtype=torch.int64))
    with pytest.raises(InvalidArgument, match=r"class ids of shape .* not torch.float32"):
        wl.log_predictions(["0"], masks=torch.zeros(1, 2, 4))
    with pytest.raises(InvalidArgument, match=r"boxes have the shape \(N, 4\), not \(2, 5\)"):
        wl.log_predictions(["0"], boxes=[torch.zeros(2, 5)])
    with pytest.raises(InvalidArgument, match="1 labels were given for 2 boxes"):
        wl.log_predictions(["0"], boxes=[{"boxes": torch.zeros(2, 4), "labels": [1]}])


def _entry(position: int, epoch: int, mask: Any) -> Kept:
    kind, form, content = mask_entry(mask)
    return Kept("r", position, epoch, epoch, kind, form, content)


def test_a_full_store_gives_up_earlier_epochs_before_the_newest(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = PredictionStore(tmp_path / "p.db", max_bytes=512 * 1024)
    noise = np.random.default_rng(0).integers(0, 256, (5, 100, 200), dtype=np.uint8)
    for epoch in range(8):
        store.put([_entry(position, epoch, noise[position]) for position in range(5)])
    assert store.dropped == 0
    newest = store.get("r", 4)
    assert newest is not None
    assert newest.epoch == 7
    assert newest.array().tolist() == noise[4].tolist()
    assert store.get("r", 4, epoch=0) is None
    store.put([_entry(position, 8, noise[position % 5]) for position in range(100)])
    assert store.dropped == 100
    assert "is full" in caplog.text


def test_a_damaged_store_is_begun_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "p.db"
    path.write_bytes(b"this is no database" * 500)
    store = PredictionStore(path)
    store.put([_entry(0, 0, MASK)])
    kept = store.get("r", 0)
    assert kept is not None
    assert kept.array().tolist() == MASK.tolist()
    assert "damaged" in caplog.text
    with sqlite3.connect(path) as connection:
        assert connection.execute("select count(*) from prediction").fetchone() == (1,)
    connection.close()
