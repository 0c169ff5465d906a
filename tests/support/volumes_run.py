"""A training run on small volumes with masks and on pictures with boxes, its names hostile: for tests of the page.

Beside them it has scenes with predictions, which are looked at only.
"""

from __future__ import annotations

import time

import torch
import weightslab as wl
from torch import nn
from torch.utils.data import DataLoader, Dataset

from tests.support import scenes
from tests.support.scenes import BoxedScenes, MaskedScenes

COUNT, SLICES, SIDE = 40, 6, 24
SPOT_COUNT = 8
# One box is found with its class, one is where nothing is.
FOUND = {"boxes": [[2, 2, 10, 11], [1, 16, 7, 22]], "labels": [1, 2], "scores": [0.875, 0.25]}
CLASS_NAMES = ("background", "<i>ink</i>", "class & co")
SPOT_NAMES = ("nothing", "<u>spot</u>", "blot")
METADATA = "<b onclick=alert(1)>site</b>"
SIGNAL = "<img src=x onerror=alert(2)>"


class Volumes(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Volumes (1, Z, H, W) whose slice k has the brightness k/10, and masks (Z, H, W) of class ids.

    Class 1 is a square at the upper left in every slice, class 2 one at the lower right from slice 3 on.
    """

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        volume = (torch.arange(SLICES, dtype=torch.float32) / 10)[None, :, None, None].expand(1, -1, SIDE, SIDE)
        mask = torch.zeros(SLICES, SIDE, SIDE, dtype=torch.int64)
        mask[:, 4:12, 4:12] = 1
        mask[3:, 12:20, 12:20] = 2
        return volume.clone(), mask


class Spots(Dataset[tuple[torch.Tensor, dict[str, torch.Tensor]]]):
    """Black pictures (24, 24) with a box of class 1 at the upper left and one of class 2 at the lower right."""

    def __len__(self) -> int:
        return SPOT_COUNT

    def __getitem__(self, index: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        boxes = torch.tensor([[2.0, 2, 10, 10], [14, 14, 22, 22]])
        return torch.zeros(SIDE, SIDE), {"boxes": boxes, "labels": torch.tensor([1, 2])}


def main() -> None:
    torch.set_num_threads(1)
    sites = [f'"/><script>alert({index % 3})</script>' for index in range(COUNT)]
    loader = wl.watch_loader(
        DataLoader(Volumes(), batch_size=8, shuffle=True),
        split="train",
        metadata={METADATA: sites},
        class_names=CLASS_NAMES,
    )
    model = wl.watch_model(nn.Conv3d(1, len(CLASS_NAMES), 1))
    optimizer = wl.watch_optimizer(torch.optim.SGD(model.parameters(), lr=0.1))
    criterion = wl.watch_loss(nn.CrossEntropyLoss())
    oddly_named = wl.watch_loss(nn.CrossEntropyLoss(), name=SIGNAL)
    spots = wl.watch_loader(DataLoader(Spots(), batch_size=SPOT_COUNT), split="spots", class_names=SPOT_NAMES)
    # One at a time: scenes differ in how many boxes they have.
    masked = wl.watch_loader(DataLoader(MaskedScenes(), batch_size=1), split="scenes", class_names=scenes.NAMES)
    boxed = wl.watch_loader(DataLoader(BoxedScenes(), batch_size=1), split="objects", class_names=scenes.NAMES)
    wl.serve()
    for _ in spots:
        wl.log_predictions(spots.current_uids, boxes=[FOUND] * SPOT_COUNT)
    found = [scenes.Scene(index) for index in range(scenes.COUNT)]
    for index, _ in enumerate(masked):
        wl.log_predictions(masked.current_uids, masks=found[index].predicted_mask(index)[None])
    for index, _ in enumerate(boxed):
        wl.log_predictions(boxed.current_uids, boxes=[found[index].predicted_boxes(index)])
    while True:
        for volumes, masks in loader:
            optimizer.zero_grad()
            logits = model(volumes)
            criterion(logits, masks).backward()
            optimizer.step()
            oddly_named(logits.detach(), masks)
            time.sleep(0.05)


if __name__ == "__main__":
    main()
