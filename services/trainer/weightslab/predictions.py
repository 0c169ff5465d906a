"""Predictions on their way from the training thread: handed off there, reduced to masks and boxes elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from weightslab_common.errors import InvalidArgument

from weightslab.prediction_store import Kept, boxes_entry, mask_entry
from weightslab.records import Batch, Moment, copied_event, hand_off, landed

PREDICTION_RING_BYTES = 32 * 1024 * 1024
# Logits up to this size are copied as they are; larger ones are reduced to class ids where they are.
_COPIED_LOGITS_BYTES = 8 * 1024 * 1024

_BOX_COLUMNS = 6


class PredictionRecord(NamedTuple):
    """The predictions of one batch: `columns` holds `logits`, `masks`, or `boxes` with their `counts`."""

    moment: Moment
    batch: Batch
    columns: dict[str, Any]
    # A CUDA event after which the copies are complete.
    ready: Any


def of_logits(moment: Moment, batch: Batch, logits: torch.Tensor) -> PredictionRecord:
    """Masks from the logits of a segmentation: (B, C, H, W) or (B, C, Z, H, W); with C = 1 above 0 is class 1.

    On the device, or on large logits, only the reduction to class ids happens here: it does not wait for the device.
    """
    logits = logits.detach()
    if not logits.is_cuda and logits.nbytes <= _COPIED_LOGITS_BYTES:
        return PredictionRecord(moment, batch, {"logits": hand_off(logits)}, None)
    return of_masks(moment, batch, class_ids(logits))


def of_masks(moment: Moment, batch: Batch, masks: torch.Tensor) -> PredictionRecord:
    """Class ids of shape (B, H, W) or (B, Z, H, W)."""
    return PredictionRecord(moment, batch, {"masks": hand_off(masks)}, copied_event(masks))


def of_boxes(moment: Moment, batch: Batch, boxes: Sequence[Any]) -> PredictionRecord:
    """One entry per sample: a mapping with `boxes` (N, 4) and, if known, `labels` and `scores`; or an array (N, 4).

    Corners are left, top, right, bottom in pixels.
    """
    tables = [box_table(entry) for entry in boxes]
    columns = {f"boxes {number}": hand_off(table) for number, table in enumerate(tables)}
    on_device = next((table for table in tables if table.is_cuda), None)
    return PredictionRecord(moment, batch, columns, None if on_device is None else copied_event(on_device))


def class_ids(logits: torch.Tensor) -> torch.Tensor:
    """uint8 class ids, int16 above 256 classes, from logits of shape (B, C, …)."""
    if logits.shape[1] == 1:
        return (logits[:, 0] > 0).to(torch.uint8)
    return logits.argmax(1).to(torch.uint8 if logits.shape[1] <= 256 else torch.int16)


def box_table(entry: Any) -> torch.Tensor:
    """float32 (N, 6): corners, label, score (NaN when there is none). Raises InvalidArgument."""
    given: Mapping[str, Any] = entry if isinstance(entry, Mapping) else {"boxes": entry}
    if "boxes" not in given:
        raise InvalidArgument("the boxes of a sample are an array (N, 4), or a mapping with `boxes`")
    corners = torch.as_tensor(given["boxes"]).detach().float()
    corners = corners.reshape(0, 4) if not corners.numel() else corners
    if corners.ndim != 2 or corners.shape[1] != 4:
        raise InvalidArgument(f"boxes have the shape (N, 4), not {tuple(corners.shape)}")
    table = torch.full((len(corners), _BOX_COLUMNS), float("nan"), device=corners.device)
    table[:, :4] = corners
    for column, name, missing in ((4, "labels", 0.0), (5, "scores", float("nan"))):
        values = given.get(name)
        if values is not None and len(values) != len(corners):
            raise InvalidArgument(f"{len(values)} {name} were given for {len(corners)} boxes")
        table[:, column] = missing if values is None else torch.as_tensor(values, device=corners.device).detach()
    return table


def entries(record: PredictionRecord) -> Iterator[Kept]:
    """What is to be kept, one entry per sample. Not for the training thread."""
    batch, columns = record.batch, record.columns
    arrays, encode = _arrays(columns)
    for position, array in zip(batch.positions.tolist(), arrays, strict=True):
        kind, form, content = encode(array)
        yield Kept(
            registration_id=batch.split.catalog.registration_id,
            position=position,
            epoch=batch.epoch,
            step=record.moment.step,
            kind=kind,
            form=form,
            content=content,
        )


def _arrays(columns: dict[str, Any]) -> tuple[list[NDArray[Any]], Callable[[NDArray[Any]], tuple[str, str, bytes]]]:
    if "logits" in columns:
        return list(class_ids(torch.from_numpy(landed(columns["logits"]))).numpy()), mask_entry
    if "masks" in columns:
        return list(landed(columns["masks"])), mask_entry
    return [np.asarray(landed(table)) for table in columns.values()], boxes_entry
