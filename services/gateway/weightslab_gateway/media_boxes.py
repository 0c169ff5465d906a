"""Boxes of a sample as JSON: what a picture of outlines cannot tell is read from here."""

from __future__ import annotations

import json

import numpy as np
from weightslab_common.columns import F32, U32, unpack
from weightslab_common.media import Picture


def boxes_json(reply: Picture) -> bytes:
    """`{"width", "height", "corners", "labels", "scores"}`, or nothing when the layer has no boxes.

    Corners are four numbers per box (left, top, right, bottom) in pixels of the source, whose size comes with them;
    a label and a score per box, the score null where there is none. Raises InvalidArgument for columns that do not fit.
    """
    if reply.boxes is None:
        return b""
    corners = unpack(reply.boxes.corners, F32, name="corners")
    count = len(corners) // 4
    labels = unpack(reply.boxes.labels, U32, count=count, name="labels")
    scores = unpack(reply.boxes.scores, F32, count=count, name="scores")
    # JSON knows no NaN and no infinity.
    corners = np.nan_to_num(corners, posinf=0.0, neginf=0.0)
    return json.dumps(
        {
            "width": reply.source_width_px,
            "height": reply.source_height_px,
            "corners": corners.tolist(),
            "labels": labels.tolist(),
            "scores": [score if np.isfinite(score) else None for score in scores.tolist()],
        },
        separators=(",", ":"),
    ).encode()
