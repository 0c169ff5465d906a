"""Reads samples of the run's datasets and their predictions, and answers requests for their images."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from weightslab_common.bus import PAYLOAD_TARGET_BYTES
from weightslab_common.errors import Internal, InvalidArgument, NotFound, WeightsLabError
from weightslab_common.media import Layer, Picture, Reply, layer_of, response_of
from weightslab_proto.weightslab.bus.v1 import GetMediaPageRequest, GetMediaPageResponse

from weightslab import boxes, images, texts, verdicts
from weightslab.prediction_store import Kept, PredictionStore

log = logging.getLogger(__name__)

LAYERS = ("image", "gt", "pred", "diff")
# Images that come after this long are left out of a page: those that are ready shall not wait for slow ones.
PAGE_SECS = 0.2


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

    def get_page(self, request: GetMediaPageRequest) -> GetMediaPageResponse:
        """Read and encode several images: at least one, then as many as there is time and room for in a message."""
        end = time.monotonic() + PAGE_SECS
        wanted = layer_of(request)
        replies: list[Reply] = []
        size_bytes = 0
        for uid in request.uids:
            reply = self._reply(wanted, uid)
            size_bytes += len(reply.content) if isinstance(reply, Picture) else len(str(reply))
            if replies and size_bytes > PAYLOAD_TARGET_BYTES:
                break
            replies.append(reply)
            if time.monotonic() > end:
                break
        return response_of(replies + [None] * (len(request.uids) - len(replies)))

    def _reply(self, wanted: Layer, uid: str) -> Reply:
        """The image, or why there is none: one image that cannot be given costs the others nothing."""
        try:
            return self.get(wanted, uid)
        except WeightsLabError as error:
            return error
        except Exception:
            log.exception("fault while reading sample %r of split %r", uid, wanted.split)
            return Internal(f"an internal fault while reading sample {uid!r}; the trainer's log has the details")

    def get(self, wanted: Layer, uid: str) -> Picture:
        """Read and encode. Raises NotFound for a split, sample or layer that does not exist."""
        split = self._splits.get(wanted.split)
        if split is None:
            raise NotFound(f"there is no split {wanted.split!r}")
        position = self._position_of[wanted.split].get(uid)
        if position is None:
            raise NotFound(f"split {wanted.split!r} has no sample {uid!r}")
        layer = wanted.layer or "image"
        if layer not in LAYERS:
            raise InvalidArgument(f"there is no layer {layer!r}; there are: {', '.join(LAYERS)}")
        version = split.registration_id[:16]
        if layer not in ("pred", "diff"):
            return _reply(_of_sample(wanted, layer, self._read(split, position)), version=version)
        kept = self._predictions.get(split.registration_id, position, epoch=wanted.epoch)
        if kept is None:
            when = "" if wanted.epoch is None else f" of epoch {wanted.epoch}"
            raise NotFound(f"no prediction{when} is kept for sample {uid!r} of split {wanted.split!r}")
        # A predicted mask needs nothing of the dataset.
        sample = None if layer == "pred" and kept.kind == "mask" else self._read(split, position)
        return _reply(_of_prediction(wanted, layer, sample=sample, kept=kept), version=f"{version}-{kept.version}")

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


def _of_sample(wanted: Layer, layer: str, sample: Any) -> Shown:
    """The layer `image` or `gt`, and the boxes that it outlines."""
    if layer == "image":
        return images.encode_image(_picture_of(sample), size_px=wanted.size_px, slice_index=wanted.slice), None
    try:
        table = boxes.find_boxes(sample)
    except NotFound:
        return images.encode_mask(images.find_mask(sample), size_px=wanted.size_px, slice_index=wanted.slice), None
    return _drawn(wanted, sample, table, boxes.outline_ids(table)), table


def _of_prediction(wanted: Layer, layer: str, *, sample: Any, kept: Kept) -> Shown:
    """The layer `pred` or `diff`, and the boxes that it outlines."""
    predicted = kept.array()
    if kept.kind == "boxes":
        if layer == "pred":
            return _drawn(wanted, sample, predicted, boxes.outline_ids(predicted)), predicted
        table, verdict = boxes.compare(boxes.find_boxes(sample), predicted)
        return _drawn(wanted, sample, table, verdict), None
    if layer == "pred":
        return images.encode_mask(predicted, size_px=wanted.size_px, slice_index=wanted.slice), None
    planes = (images.mask_plane(mask, slice_index=wanted.slice) for mask in (images.find_mask(sample), predicted))
    return images.encode_mask(verdicts.of_masks(*planes), size_px=wanted.size_px, slice_index=0), None


def _picture_of(sample: Any) -> Any:
    try:
        return images.find_image(sample)
    except NotFound:
        return texts.picture(texts.find_text(sample))


def _drawn(wanted: Layer, sample: Any, table: NDArray[np.float32], ids: NDArray[np.uint8]) -> images.Encoded:
    """Outlines in the size asked for: shrunk afterwards, lines of one pixel would be lost."""
    height, width = images.plane(images.find_image(sample), slice_index=wanted.slice).shape[:2]
    shown_width, shown_height = images.shrunk_size((width, height), wanted.size_px)
    canvas = boxes.outlines(table, ids, source=(height, width), shown=(shown_height, shown_width))
    encoded = images.encode_mask(canvas, size_px=0, slice_index=0)
    return images.Encoded(encoded.content, encoded.media_type, width, height)


def _reply(shown: Shown, *, version: str) -> Picture:
    encoded, table = shown
    return Picture(
        content=encoded.content,
        media_type=encoded.media_type,
        version=version,
        source_width_px=encoded.source_width_px,
        source_height_px=encoded.source_height_px,
        boxes=None if table is None else boxes.message(table),
    )
