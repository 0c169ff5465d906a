"""Samples of every kind, asked for as a page asks: the pixels are those of the source, slice k is source slice k."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from weightslab.kinds import Kind, kind_of
from weightslab.media_source import MediaSource, MediaSplit
from weightslab_common.media import Layer

NOISE = np.random.default_rng(0).integers(0, 256, (7, 9, 11, 4), dtype=np.uint8)
GRAY, RGB, RGBA = NOISE[0, :, :, 0], NOISE[0, :, :, :3], NOISE[0]
VOLUME, COLOUR_VOLUME = NOISE[:, :, :, 0], NOISE[:, :, :, :3]
MASK = np.array([[0, 255, 3], [4, 0, 1]], dtype=np.uint8)
SHADES = np.array([[0.0, 0.2], [0.6, 1.0]], dtype=np.float32)
WITH_TRUTH = ("image", "gt", "pred", "diff")

# The sample, its kind, and what each slice has to look like.
SAMPLES: dict[str, tuple[Any, Kind, list[Any]]] = {
    "grayscale, classification": ((torch.from_numpy(GRAY)[None], 3), Kind("image", 0, ("image",)), [GRAY]),
    "colour, regression": ((RGB, 0.5), Kind("image", 0, ("image",)), [RGB]),
    "colour, channels first": ((torch.from_numpy(RGB).permute(2, 0, 1), 1), Kind("image", 0, ("image",)), [RGB]),
    "transparent": ((Image.fromarray(RGBA), 1), Kind("image", 0, ("image",)), [RGBA]),
    "16 bit": (
        (np.array([[1000, 1255], [1051, 1000]], np.uint16), 1),
        Kind("image", 0, ("image",)),
        [np.array([[0, 255], [51, 0]])],
    ),
    "float": ((torch.from_numpy(SHADES), 1), Kind("image", 0, ("image",)), [np.array([[0, 51], [153, 255]])]),
    "segmentation": ((torch.from_numpy(GRAY), torch.from_numpy(MASK)), Kind("image", 0, WITH_TRUTH), [GRAY]),
    "detection": (
        {"image": RGB, "boxes": np.array([[1, 1, 5, 5]]), "labels": np.array([2])},
        Kind("image", 0, WITH_TRUTH),
        [RGB],
    ),
    "volume": ((torch.from_numpy(VOLUME), 1), Kind("volume", 7, ("image",)), list(VOLUME)),
    "colour volume": ((COLOUR_VOLUME, 1), Kind("volume", 7, ("image",)), list(COLOUR_VOLUME)),
}


def _source(sample: Any, folder: Path) -> MediaSource:
    source = MediaSource(predictions=folder / "predictions.db")
    source.add(MediaSplit("train", [sample], ("0",), "registration"))
    return source


def _pixels(source: MediaSource, **options: Any) -> Any:
    reply = source.get(Layer("train", **options), "0")
    return np.asarray(Image.open(io.BytesIO(reply.content)))


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_is_told_by_its_kind_and_shown_pixel_by_pixel(name: str, tmp_path: Path) -> None:
    sample, kind, slices = SAMPLES[name]
    assert kind_of(sample) == kind
    source = _source(sample, tmp_path)
    assert len(slices) == max(1, kind.slice_count)
    for number, expected in enumerate(slices):
        assert _pixels(source, layer="image", slice=number).tolist() == expected.tolist()


def test_a_mask_is_shown_id_by_id(tmp_path: Path) -> None:
    source = _source(SAMPLES["segmentation"][0], tmp_path)
    assert _pixels(source, layer="gt").tolist() == MASK.tolist()


def test_instance_masks_become_class_ids(tmp_path: Path) -> None:
    masks = np.zeros((2, 4, 4), dtype=np.uint8)
    masks[0, :2], masks[1, 1:3, 2:] = 1, 1
    shown = _pixels(_source((GRAY[:4, :4], {"masks": masks, "labels": np.array([7, 255])}), tmp_path), layer="gt")
    assert shown.tolist() == [[7, 7, 7, 7], [7, 7, 255, 255], [0, 0, 255, 255], [0, 0, 0, 0]]


def test_a_text_is_shown_as_a_picture_of_it(tmp_path: Path) -> None:
    samples = [("a long text " * 90, 1), {"label": 0, "text": "another"}]
    assert [kind_of(sample) for sample in samples] == [Kind("text", 0, ("image",))] * 2
    pictures = [_pixels(_source(sample, tmp_path), layer="image") for sample in samples]
    assert all(picture.min() < 128 < picture.max() for picture in pictures)
    assert (pictures[0] != pictures[1]).any()


def test_numbers_alone_are_no_picture() -> None:
    assert kind_of((torch.zeros(4), 1)) == Kind()
