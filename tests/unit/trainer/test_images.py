"""Images of every kind are shown; class ids of masks are exact."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from weightslab import images
from weightslab_common.errors import InvalidArgument, NotFound


def _decoded(encoded: images.Encoded) -> Image.Image:
    return Image.open(io.BytesIO(encoded.content))


def _shown(image: Any, *, size_px: int = 0, slice_index: int = 0) -> tuple[Image.Image, images.Encoded]:
    encoded = images.encode_image(image, size_px=size_px, slice_index=slice_index)
    return _decoded(encoded), encoded


KINDS = {
    "grayscale": (np.full((20, 30), 7, np.uint8), "L"),
    "grayscale, channel first": (torch.zeros(1, 20, 30), "L"),
    "grayscale, channel last": (np.zeros((20, 30, 1), np.uint8), "L"),
    "colour, channels first": (torch.rand(3, 20, 30), "RGB"),
    "colour, channels last": (np.zeros((20, 30, 3), np.uint8), "RGB"),
    "transparent": (np.zeros((20, 30, 4), np.uint8), "RGBA"),
    "16 bit": (np.arange(600, dtype=np.uint16).reshape(20, 30) * 100, "L"),
    "float": (np.linspace(-3, 9, 600).reshape(20, 30), "L"),
    "half": (torch.rand(20, 30).to(torch.bfloat16), "L"),
    "bits": (np.zeros((20, 30), dtype=bool), "L"),
    "palette": (Image.new("P", (30, 20)), "RGB"),
    "PIL": (Image.new("RGB", (30, 20)), "RGB"),
    "PIL 16 bit": (Image.fromarray(np.zeros((20, 30), np.uint16)), "L"),
    "volume": (torch.rand(9, 20, 30), "L"),
    "colour volume": (np.zeros((9, 20, 30, 3), np.uint8), "RGB"),
    "colour volume, channels first": (torch.zeros(3, 9, 20, 30), "RGB"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_image_is_shown_in_its_size(kind: str) -> None:
    source, mode = KINDS[kind]
    image, encoded = _shown(source)
    assert image.size == (30, 20)
    assert image.mode == mode
    assert (encoded.source_width_px, encoded.source_height_px) == (30, 20)
    assert encoded.media_type == "image/png"


def test_slice_k_is_source_slice_k() -> None:
    volume = np.stack([np.full((20, 30), 10 * z, np.uint8) for z in range(9)])
    assert images.slice_count(volume) == 9
    for z in range(9):
        assert np.asarray(_shown(volume, slice_index=z)[0]).tolist() == volume[z].tolist()
    with pytest.raises(InvalidArgument, match="slice 9 does not exist: the volume has 9"):
        _shown(volume, slice_index=9)


def test_an_image_is_no_volume() -> None:
    assert images.slice_count(np.zeros((20, 30, 3))) == 0
    assert images.slice_count(torch.zeros(3, 20, 30)) == 0


def test_bytes_are_exact_fractions_scale_by_255_and_the_rest_from_minimum_to_maximum() -> None:
    assert images.to_bytes(np.array([0, 255, 3], np.uint8)).tolist() == [0, 255, 3]
    assert images.to_bytes(np.array([0.0, 0.2, 1.0])).tolist() == [0, 51, 255]
    assert images.to_bytes(np.array([-2.0, 0.0, 2.0])).tolist() == [0, 128, 255]
    assert images.to_bytes(np.array([100, 65535], np.uint16)).tolist() == [0, 255]
    assert images.to_bytes(np.array([5.0, 5.0])).tolist() == [0, 0]


def test_numbers_that_are_not_finite_do_not_hide_the_others() -> None:
    shown = images.to_bytes(np.array([np.nan, -np.inf, 0.0, 4.0, np.inf]))
    assert shown.tolist() == [0, 0, 0, 255, 255]
    assert images.to_bytes(np.array([np.nan])).tolist() == [0]


def test_a_photograph_is_a_jpeg_and_is_shrunk_but_never_enlarged() -> None:
    photograph = np.random.default_rng(0).integers(0, 255, (200, 400, 3), dtype=np.uint8)
    image, encoded = _shown(photograph, size_px=100)
    assert encoded.media_type == "image/jpeg"
    assert image.size == (100, 50)
    assert (encoded.source_width_px, encoded.source_height_px) == (400, 200)
    assert _shown(photograph, size_px=4000)[0].size == (400, 200)
    assert _shown(photograph[..., 0])[0].mode == "L"


@pytest.mark.parametrize("size_px", [0, 10])
def test_class_ids_of_a_mask_are_exact(size_px: int) -> None:
    mask = np.random.default_rng(0).choice(np.array([0, 1, 7, 254, 255], np.uint8), (40, 40))
    decoded = np.asarray(_decoded(images.encode_mask(mask, size_px=size_px, slice_index=0)))
    assert set(np.unique(decoded)) <= {0, 1, 7, 254, 255}
    if not size_px:
        assert np.array_equal(decoded, mask)


def test_class_ids_above_255_take_16_bits() -> None:
    mask = np.array([[0, 300], [65535, 2]], dtype=np.int64)
    decoded = _decoded(images.encode_mask(mask, size_px=0, slice_index=0))
    assert np.asarray(decoded).tolist() == mask.tolist()


def test_ids_that_mean_ignore_are_shown_as_255() -> None:
    decoded = _decoded(images.encode_mask(np.array([[-100, 3]]), size_px=0, slice_index=0))
    assert np.asarray(decoded).tolist() == [[255, 3]]


def test_input_and_mask_are_found_in_tuples_and_dicts() -> None:
    image, mask = torch.rand(3, 8, 8), torch.ones(8, 8, dtype=torch.int64)
    for sample in ((image, mask), [image, 4, mask], {"id": 3, "image": image, "mask": mask}, ("name", (image, mask))):
        assert images.find_image(sample) is image
        assert images.find_mask(sample).tolist() == mask.tolist()
    with pytest.raises(NotFound, match="no image"):
        images.find_image((torch.rand(3), 1))
    with pytest.raises(NotFound, match="no mask"):
        images.find_mask((image, 1))
