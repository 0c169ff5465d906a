"""Made-up scenes of discs, squares and triangles, with masks or boxes, and predictions that err as models do."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

SIDE, COUNT = 128, 16
NAMES = ("background", "disc", "square", "triangle")
INKS = np.array([[236, 196, 92], [92, 160, 222], [226, 120, 96], [150, 200, 130], [190, 150, 216]])


class Scene:
    """Image (3, SIDE, SIDE) uint8, mask (SIDE, SIDE) of class ids, boxes (N, 4) and their classes (N,)."""

    def __init__(self, index: int) -> None:
        random = np.random.default_rng(index)
        shade = np.linspace(random.uniform(60, 110), random.uniform(20, 45), SIDE)[:, None, None]
        image = shade * random.uniform(0.7, 1.1, 3) + random.normal(0, 4, (SIDE, SIDE, 1))
        self.mask = np.zeros((SIDE, SIDE), np.int64)
        boxes, labels = [], []
        corners = random.permutation([(4, 6), (68, 8), (6, 66), (66, 64)])
        for left, top in corners[: random.integers(2, 5)]:
            size = int(random.integers(30, 56))
            label = int(random.integers(1, len(NAMES)))
            inside = _shape(label, left=int(left), top=int(top), size=size)
            image[inside] = INKS[random.integers(len(INKS))] * random.uniform(0.85, 1) + random.normal(0, 5, (1, 3))
            self.mask[inside] = label
            boxes.append([left, top, left + size, top + size])
            labels.append(label)
        self.image = image.clip(0, 255).astype(np.uint8).transpose(2, 0, 1)
        self.boxes = np.array(boxes, np.float32)
        self.labels = np.array(labels)

    def predicted_mask(self, index: int) -> NDArray[np.int64]:
        """Somewhat beside the mask; in every third scene a class is taken for the next, in every fourth one is lost."""
        found = np.roll(self.mask, (2, -3), axis=(0, 1))
        if index % 3 == 0:
            found[found == self.labels[0]] = self.labels[0] % (len(NAMES) - 1) + 1
        if index % 4 == 1:
            found[found == self.labels[-1]] = 0
        return found

    def predicted_boxes(self, index: int) -> dict[str, Any]:
        random = np.random.default_rng(index)
        return {
            "boxes": self.boxes + random.normal(0, 2, self.boxes.shape),
            "labels": self.labels,
            "scores": random.uniform(0.55, 0.99, len(self.labels)),
        }


def _shape(label: int, *, left: int, top: int, size: int) -> NDArray[np.bool_]:
    y, x = np.mgrid[:SIDE, :SIDE]
    inside = (x >= left) & (x < left + size) & (y >= top) & (y < top + size)
    across, down = (x - left) / size - 0.5, (y - top) / size - 0.5
    outlines = {1: across**2 + down**2 <= 0.25, 2: inside, 3: 2 * np.abs(across) <= down + 0.5}
    return np.asarray(inside & outlines[label], np.bool_)


class MaskedScenes(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        scene = Scene(index)
        return torch.from_numpy(scene.image), torch.from_numpy(scene.mask)


class BoxedScenes(Dataset[tuple[torch.Tensor, dict[str, torch.Tensor]]]):
    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        scene = Scene(index)
        return torch.from_numpy(scene.image), {
            "boxes": torch.from_numpy(scene.boxes),
            "labels": torch.from_numpy(scene.labels),
        }
