"""Boxes of a sample: found, drawn as outlines of class ids, compared. Pure; needs no torch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from weightslab_common.columns import F32, U32, pack
from weightslab_common.errors import NotFound
from weightslab_proto.weightslab.bus.v1 import MediaBoxes

from weightslab.images import parts
from weightslab.verdicts import Verdict

# Boxes that overlap so far mean the same thing (PASCAL VOC).
_SAME_OVERLAP = 0.5
# Background is 0 in an outline, so a box of class 0 needs another id.
_ID_OF_CLASS_0 = 255


def find_boxes(sample: Any) -> NDArray[np.float32]:
    """The boxes in the target of a sample, (N, 6): corners, label, score. Raises NotFound."""
    found = {name: part for name, part in parts(sample) if name in ("boxes", "bboxes", "labels")}
    given = found.get("boxes", found.get("bboxes"))
    if given is None:
        raise NotFound("the target of this sample has no boxes")
    corners = np.asarray(given, dtype=np.float32).reshape(-1, 4)
    labels = np.asarray(found.get("labels", np.zeros(len(corners))), dtype=np.float32)
    if labels.shape != (len(corners),):
        raise NotFound(f"the target of this sample has {len(corners)} boxes but {labels.size} labels")
    return np.column_stack([corners, labels, np.full(len(corners), np.nan, dtype=np.float32)])


def outlines(
    table: NDArray[np.float32], ids: NDArray[Any], *, source: tuple[int, int], shown: tuple[int, int]
) -> NDArray[np.uint8]:
    """One pixel wide outlines of boxes in a picture of `shown` (height, width); the later box is on top.

    The corners are pixels of `source` (height, width), `ids` the value of each outline.
    """
    canvas = np.zeros(shown, dtype=np.uint8)
    (height, width), (source_height, source_width) = shown, source
    for (left, top, right, bottom), value in zip(table[:, :4].astype(np.float64), ids.tolist(), strict=True):
        if not np.isfinite([left, top, right, bottom]).all():
            continue
        x0, x1 = (_pixel(x * width / source_width, width) for x in (left, right))
        y0, y1 = (_pixel(y * height / source_height, height) for y in (top, bottom))
        canvas[y0, x0 : x1 + 1] = canvas[y1, x0 : x1 + 1] = value
        canvas[y0 : y1 + 1, x0] = canvas[y0 : y1 + 1, x1] = value
    return canvas


def outline_ids(table: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The class of each box as the value of its outline; class 0 is 255, because 0 is the background."""
    labels = np.clip(table[:, 4], 0, _ID_OF_CLASS_0).astype(np.uint8)
    return np.where(labels == 0, np.uint8(_ID_OF_CLASS_0), labels)


def compare(gt: NDArray[np.float32], pred: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Boxes and what is true of each: a predicted box belongs to the box that it overlaps most, by half at least.

    Predicted boxes come in the order of their scores, and each box of the ground truth is found once.
    """
    order = np.argsort(-np.nan_to_num(pred[:, 5], nan=0.0), kind="stable")
    overlap = _overlaps(gt, pred)
    free = np.ones(len(gt), dtype=bool)
    verdicts = np.full(len(pred), Verdict.FALSE_POSITIVE, dtype=np.uint8)
    for number in order:
        candidates = np.where(free, overlap[:, number], 0.0)
        best = int(candidates.argmax()) if len(gt) else -1
        if best < 0 or candidates[best] < _SAME_OVERLAP:
            continue
        free[best] = False
        same = gt[best, 4] == pred[number, 4]
        verdicts[number] = Verdict.TRUE_POSITIVE if same else Verdict.CONFUSED
    missed = np.full(int(free.sum()), Verdict.FALSE_NEGATIVE, dtype=np.uint8)
    return np.concatenate([gt[free], pred]), np.concatenate([missed, verdicts])


def message(table: NDArray[np.float32]) -> MediaBoxes:
    """As the bus carries boxes."""
    return MediaBoxes(
        corners=pack(table[:, :4], F32),
        labels=pack(np.maximum(table[:, 4], 0), U32),
        scores=pack(table[:, 5], F32),
    )


def _pixel(position: float, size: int) -> int:
    return int(np.clip(round(position), 0, size - 1))


def _overlaps(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float64]:
    """Intersection over union of every pair, (len(first), len(second))."""
    a, b = first[:, None, :4].astype(np.float64), second[None, :, :4].astype(np.float64)
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    common = sides.clip(min=0).prod(axis=-1)
    whole = (a[..., 2:] - a[..., :2]).prod(axis=-1) + (b[..., 2:] - b[..., :2]).prod(axis=-1) - common
    overlap: NDArray[np.float64] = np.where(whole > 0, common / np.where(whole > 0, whole, 1), 0.0)
    return overlap
