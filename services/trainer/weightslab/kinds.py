"""What kind of sample a dataset holds, told by its first one. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from weightslab_common.errors import WeightsLabError

from weightslab import images
from weightslab.boxes import find_boxes
from weightslab.texts import find_text


@dataclass(frozen=True, slots=True)
class Kind:
    """`media_kind` is `image`, `volume`, `text` or empty; `layers` is what can be shown of a sample."""

    media_kind: str = ""
    slice_count: int = 0
    layers: tuple[str, ...] = ()


def kind_of(sample: Any) -> Kind:
    """The kind of one sample. A ground truth can be compared with predictions, as soon as some are kept."""
    if not _holds(images.find_image, sample):
        return Kind("text", layers=("image",)) if _holds(find_text, sample) else Kind()
    slices = images.slice_count(images.find_image(sample))
    truth = ("gt", "pred", "diff") if _holds(find_boxes, sample) or _holds(images.find_mask, sample) else ()
    return Kind("volume" if slices else "image", slices, ("image", *truth))


def _holds(find: Callable[[Any], object], sample: Any) -> bool:
    try:
        find(sample)
    except WeightsLabError:
        return False
    return True
