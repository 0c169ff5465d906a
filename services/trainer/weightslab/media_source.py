"""Reads samples of the run's datasets and their predictions, and answers requests for their images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from weightslab_common.errors import InvalidArgument, NotFound, WeightsLabError
from weightslab_proto.weightslab.bus.v1 import GetMediaRequest, GetMediaResponse

from weightslab import boxes, images, texts, verdicts
from weightslab.prediction_store import Kept, PredictionStore

LAYERS = ("image", "gt", "pred", "diff")


@dataclass(frozen=True, slots=True)
class MediaSplit:
    """What a media worker must know of a split. It can be pickled when its dataset can."""

    name: str
    dataset: Any
    uids: Sequence[str]
    registration_id: str


class MediaSource:
    """Samples by uid, layers by name."""

    def __init__(self, *, predictions: Path) -> None:
        self._splits: dict[str, MediaSplit] = {}
        self._position_of: dict[str, dict[str, int]] = {}
        self._predictions = PredictionStore(predictions)

    def add(self, split: MediaSplit) -> None:
        self._splits[split.name] = split
        self._position_of[split.name] = {uid: position for position, uid in enumerate(split.uids)}

    def get(self, request: GetMediaRequest) -> GetMediaResponse:
        """Read and encode. Raises NotFound for a split, sample or layer that does not exist."""
        split = self._splits.get(request.split)
        if split is None:
            raise NotFound(f"there is no split {request.split!r}")
        position = self._position_of[request.split].get(request.uid)
        if position is None:
            raise NotFound(f"split {request.split!r} has no sample {request.uid!r}")
        layer = request.layer or "image"
        if layer not in LAYERS:
            raise InvalidArgument(f"there is no layer {layer!r}; there are: {', '.join(LAYERS)}")
        version = split.registration_id[:16]
        if layer not in ("pred", "diff"):
            return _reply(_of_sample(request, layer, self._read(split, position)), version=version)
        kept = self._predictions.get(split.registration_id, position, epoch=request.epoch)
        if kept is None:
            when = "" if request.epoch is None else f" of epoch {request.epoch}"
            raise NotFound(f"no prediction{when} is kept for sample {request.uid!r} of split {request.split!r}")
        # A predicted mask needs nothing of the dataset.
        sample = None if layer == "pred" and kept.kind == "mask" else self._read(split, position)
        return _reply(_of_prediction(request, layer, sample=sample, kept=kept), version=f"{version}-{kept.version}")

    def _read(self, split: MediaSplit, position: int) -> Any:
        try:
            return split.dataset[position]
        except WeightsLabError:
            raise
        except Exception as error:
            # The user's code: whatever it raises is about this sample only.
            uid, reason = split.uids[position], f"{type(error).__name__}: {error}"
            raise NotFound(f"sample {uid!r} of split {split.name!r} cannot be read: {reason}") from error


Shown = tuple[images.Encoded, NDArray[np.float32] | None]


def _of_sample(request: GetMediaRequest, layer: str, sample: Any) -> Shown:
    """The layer `image` or `gt`, and the boxes that it outlines."""
    if layer == "image":
        return images.encode_image(_picture_of(sample), size_px=request.size_px, slice_index=request.slice), None
    try:
        table = boxes.find_boxes(sample)
    except NotFound:
        return images.encode_mask(images.find_mask(sample), size_px=request.size_px, slice_index=request.slice), None
    return _drawn(request, sample, table, boxes.outline_ids(table)), table


def _of_prediction(request: GetMediaRequest, layer: str, *, sample: Any, kept: Kept) -> Shown:
    """The layer `pred` or `diff`, and the boxes that it outlines."""
    predicted = kept.array()
    if kept.kind == "boxes":
        if layer == "pred":
            return _drawn(request, sample, predicted, boxes.outline_ids(predicted)), predicted
        table, verdict = boxes.compare(boxes.find_boxes(sample), predicted)
        return _drawn(request, sample, table, verdict), None
    if layer == "pred":
        return images.encode_mask(predicted, size_px=request.size_px, slice_index=request.slice), None
    planes = (images.mask_plane(mask, slice_index=request.slice) for mask in (images.find_mask(sample), predicted))
    return images.encode_mask(verdicts.of_masks(*planes), size_px=request.size_px, slice_index=0), None


def _picture_of(sample: Any) -> Any:
    try:
        return images.find_image(sample)
    except NotFound:
        return texts.picture(texts.find_text(sample))


def _drawn(request: GetMediaRequest, sample: Any, table: NDArray[np.float32], ids: NDArray[np.uint8]) -> images.Encoded:
    """Outlines in the size asked for: shrunk afterwards, lines of one pixel would be lost."""
    height, width = images.plane(images.find_image(sample), slice_index=request.slice).shape[:2]
    shown_width, shown_height = images.shrunk_size((width, height), request.size_px)
    canvas = boxes.outlines(table, ids, source=(height, width), shown=(shown_height, shown_width))
    encoded = images.encode_mask(canvas, size_px=0, slice_index=0)
    return images.Encoded(encoded.content, encoded.media_type, width, height)


def _reply(shown: Shown, *, version: str) -> GetMediaResponse:
    encoded, table = shown
    return GetMediaResponse(
        content=encoded.content,
        media_type=encoded.media_type,
        version=version,
        source_width_px=encoded.source_width_px,
        source_height_px=encoded.source_height_px,
        boxes=None if table is None else boxes.message(table),
    )
