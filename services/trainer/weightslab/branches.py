"""Lines of training: which there are, and where each left its parent."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson
from weightslab_common.errors import FailedPrecondition

from weightslab.files import read_json, write_atomically

FIRST_BRANCH = "main"


@dataclass(frozen=True, slots=True)
class BranchRecord:
    """`parent_branch` is empty and `parent_step` 0 for a line that began from nothing."""

    branch: str
    name: str
    parent_branch: str
    parent_step: int
    created_unix_ms: int


class BranchTree:
    """All branches of an experiment, kept in one small file, and where the last process ended."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "branches.json"
        self._end_path = folder / "end.json"
        try:
            self._branches = [BranchRecord(**entry) for entry in read_json(self._path) or []]
            self._ended: dict[str, int] = dict(read_json(self._end_path) or {})
        except (TypeError, ValueError) as error:
            raise FailedPrecondition(
                f"{self._path} or {self._end_path} is damaged ({error}); repair it, or move the folder away"
            ) from error

    def all(self) -> list[BranchRecord]:
        return list(self._branches)

    def ended_at(self, branch: str) -> int | None:
        """The last step of the branch, if the last process trained it and ended in order; else nobody knows."""
        return self._ended.get(branch)

    def start(self, *, parent_branch: str = "", parent_step: int = 0) -> BranchRecord:
        """Begin a new line and keep it."""
        taken = {record.branch for record in self._branches}
        number = len(taken) + 1
        while f"b{number}" in taken:
            number += 1
        branch = f"b{number}" if taken else FIRST_BRANCH
        record = BranchRecord(
            branch=branch,
            name=branch,
            parent_branch=parent_branch,
            parent_step=parent_step,
            created_unix_ms=time.time_ns() // 1_000_000,
        )
        self._branches.append(record)
        write_atomically(self._path, orjson.dumps([asdict(entry) for entry in self._branches]))
        return record

    def note_begin(self) -> None:
        """A process trains now: until it ends in order, nobody knows how far it comes."""
        self._ended = {}
        self._end_path.unlink(missing_ok=True)

    def note_end(self, branch: str, step: int) -> None:
        """The process ends in order."""
        write_atomically(self._end_path, orjson.dumps({branch: step}))
