"""Which checkpoints are kept. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from weightslab_common.errors import InvalidArgument

from weightslab.checkpoints import CheckpointInfo


@dataclass(frozen=True, slots=True)
class Retention:
    """Of each branch the newest `keep_last`, and for ever the first of every `keep_every` steps (0: none for ever).

    Raises InvalidArgument for numbers that make no sense.
    """

    keep_last: int
    keep_every: int = 0

    def __post_init__(self) -> None:
        if self.keep_last < 1:
            raise InvalidArgument(f"at least 1 checkpoint of each branch is kept, not {self.keep_last}")
        if self.keep_every < 0:
            raise InvalidArgument(f"a checkpoint is kept every so many steps, 0 for none, not {self.keep_every}")

    def superfluous(
        self, saved: Collection[CheckpointInfo], *, pinned: Collection[tuple[str, int]]
    ) -> list[CheckpointInfo]:
        """What may be removed; never what is pinned, given as (branch, step)."""
        by_branch: dict[str, list[CheckpointInfo]] = {}
        for info in sorted(saved, key=lambda info: info.step):
            by_branch.setdefault(info.branch, []).append(info)
        return [
            info
            for infos in by_branch.values()
            for info, milestone in zip(infos[: -self.keep_last], self._milestones(infos), strict=False)
            if not milestone and (info.branch, info.step) not in pinned
        ]

    def _milestones(self, infos: list[CheckpointInfo]) -> list[bool]:
        """Whether each, in the order of steps, is the first of its `keep_every` steps."""
        if not self.keep_every:
            return [False] * len(infos)
        spans = [info.step // self.keep_every for info in infos]
        return [span not in spans[:number] for number, span in enumerate(spans)]
