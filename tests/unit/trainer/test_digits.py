"""The demo's data: real scans, a few of them with a wrong label that nothing in the data gives away."""

from __future__ import annotations

from sklearn.datasets import load_digits
from weightslab.demo import digits


def test_exactly_the_recorded_labels_are_wrong() -> None:
    train_set, val_set = digits.load_datasets()
    _, labels = load_digits(return_X_y=True)
    train, validation = digits.split_indices()
    assert (len(train_set), len(val_set)) == (1437, 360)
    wrong = [str(i) for i, target in enumerate(train_set.tensors[1].tolist()) if target != labels[train[i]]]
    assert wrong == digits.swapped_uids()
    assert len(wrong) == 72
    assert val_set.tensors[1].tolist() == labels[validation].tolist()
    assert not set(train) & set(validation)


def test_images_are_fractions_of_one() -> None:
    images = digits.load_datasets()[0].tensors[0]
    assert tuple(images.shape[1:]) == (1, 8, 8)
    assert (images.min().item(), images.max().item()) == (0, 1)
