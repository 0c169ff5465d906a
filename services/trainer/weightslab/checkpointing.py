"""When the run is saved and loaded, and how loading makes a branch. Its methods run on the training thread."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from weightslab_common.errors import FailedPrecondition, WeightsLabError

from weightslab import snapshots, tree, tuning
from weightslab.branches import BranchTree
from weightslab.checkpoints import CheckpointInfo, CheckpointStore
from weightslab.companions import find_companions
from weightslab.records import AUDIT_MODE
from weightslab.retention import Retention
from weightslab.run import Run

log = logging.getLogger(__name__)

_WAITING_LIMIT_BYTES = 256 * 1024 * 1024


class Checkpointing:
    """Saves every `every` steps (0: only when asked); keeps what `retention` says, and branch points for ever."""

    def __init__(
        self,
        run: Run,
        *,
        store: CheckpointStore,
        branches: BranchTree,
        every: int,
        retention: Retention,
        restore: bool,
    ) -> None:
        self._run = run
        self.store = store
        self.branches = branches
        self._every = every
        self._retention = retention
        self._restore_wanted = restore
        self._begun = False
        self._closed = False
        self._saved_by_itself = 0
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="weightslab-checkpoints")
        # Copies that wait to be written.
        self._waiting_bytes = 0
        self._submitting = threading.Lock()
        # Held while old checkpoints are removed, so that none goes which is about to be loaded.
        self._removing = threading.Lock()
        self._asked_for: tuple[str, int] | None = None
        self.loaded: CheckpointInfo | None = None
        self.last_step = -1

    def before_batch(self) -> None:
        """The loop goes on: begin, branch off or save, when it is time to."""
        if self._closed:
            # The script goes on after `stop`, unwatched.
            return
        if not self._begun and self._run.mode != AUDIT_MODE:
            self._begin()
        if self.loaded is not None:
            self.branch_off()
        if self._every and self._run.step // self._every != self._saved_by_itself // self._every:
            self._save_by_itself()

    def save(self) -> Future[CheckpointInfo]:
        """Copy the state now; it is written on another thread."""
        if self._run.mode == AUDIT_MODE:
            raise FailedPrecondition("nothing is saved in audit mode; go back to train mode first")
        if not self._run.models:
            raise FailedPrecondition("there is nothing to save: no model is watched")
        if self.loaded is not None:
            raise FailedPrecondition(
                f"the run stands at the loaded checkpoint {self.loaded.branch}@{self.loaded.step}, which stays as it "
                "was saved; resume, and the branch that begins can be saved"
            )
        return self._write()

    def read(self, branch: str, step: int) -> tuple[CheckpointInfo, dict[str, Any]]:
        """The newest checkpoint at or before a step, which then stays on disk; for `load`. From any thread.

        Raises NotFound, FailedPrecondition.
        """
        with self._removing:
            info = self.store.at_or_before(branch, step)
            self._asked_for = (info.branch, info.step)
        return info, self.store.read(info)

    def load(self, info: CheckpointInfo, state: dict[str, Any]) -> None:
        """Restore a state that was read. Raises FailedPrecondition, and changes nothing, when it does not fit."""
        if self._run.mode == AUDIT_MODE:
            raise FailedPrecondition("a checkpoint cannot be loaded in audit mode; go back to train mode first")
        self._restore(info, state)
        self.loaded = info
        # Other checkpoints of the old line may be newer: the new line saves from here.
        self._saved_by_itself = info.step
        self._run.gate.pause()
        self._run.changed()

    def branch_off(self) -> str:
        """Start the line that goes on from the loaded checkpoint, if there is one; return the branch that runs."""
        if self.loaded is not None:
            record = self.branches.start(parent_branch=self.loaded.branch, parent_step=self.loaded.step)
            self._run.branch = record.branch
            self.loaded = None
            self.last_step = -1
            self._run.changed()
        return self._run.branch

    def close(self) -> None:
        """Wait until what is being written is on disk, and note where the run ends."""
        with self._submitting:
            self._closed = True
        self._writer.shutdown(wait=True)
        # After a load that was not resumed nobody knows: the line may have gone further than the loaded step.
        if self._begun and self.loaded is None:
            # A batch that was drawn without its step being taken has left its points: the branch is past that step.
            with self._run.edit_lock:
                step = self._run.next_obeying_step()
            self.branches.note_end(self._run.branch, step)

    def _begin(self) -> None:
        """At the first batch, when everything is watched: go on where the last process of this experiment was saved."""
        self._begun = True
        self.store.mend()
        try:
            self._choose_line()
        finally:
            self.branches.note_begin()
            self._run.changed()

    def _choose_line(self) -> None:
        if self.loaded is not None:
            return
        if not self._restore_wanted or not self._restore_newest():
            self._run.branch = self.branches.start().branch

    def _restore_newest(self) -> bool:
        for info in reversed(self.store.all()):
            try:
                self._restore(info, self.store.read(info))
            except WeightsLabError as error:
                log.warning("checkpoint %s@%d is not restored: %s", info.branch, info.step, error)
                continue
            self._saved_by_itself = info.step
            if self.branches.ended_at(info.branch) == info.step:
                self._run.branch = info.branch
                self.last_step = info.step
            else:
                # The line may have gone on beyond what was saved; its points stay its own.
                record = self.branches.start(parent_branch=info.branch, parent_step=info.step)
                self._run.branch = record.branch
            log.info("training goes on from checkpoint %s@%d", info.branch, info.step)
            return True
        return False

    def _restore(self, info: CheckpointInfo, state: dict[str, Any]) -> None:
        run = self._run
        companions = find_companions(run)
        snapshots.check_fits(run, state, companions)
        snapshots.restore(run, state, companions)
        if run.peers is None:
            snapshots.restore_positions(run, state["loaders"])
        else:
            # Each rank stands elsewhere in its share: they begin an epoch together.
            run.peers.tell({"restore": [info.branch, info.step]})
        tuning.keep_current(run, saved=state["hyperparameters"], companions=companions)
        run.step = info.step
        run.yielded_step = -1

    def _save_by_itself(self) -> None:
        if self._run.mode == AUDIT_MODE or not self._run.models:
            return
        if self._waiting_bytes > _WAITING_LIMIT_BYTES:
            # The disk is slower than the training: save when it has caught up.
            return
        self._saved_by_itself = self._run.step
        try:
            self._write().add_done_callback(_log_failure)
        except Exception as error:
            # The state of the user's optimizer or scheduler may be anything; the training goes on in any case.
            log.error("a checkpoint could not be written: %s", error)

    def _write(self) -> Future[CheckpointInfo]:
        run = self._run
        companions = find_companions(run)
        state = {
            **snapshots.state_of(run, companions),
            "types": snapshots.types_of(run, companions),
            "architectures": snapshots.architectures_of(run),
            "loaders": snapshots.positions_of(run),
            "hyperparameters": run.hyperparameters.applied(),
        }
        branch, step = run.branch, run.step
        copied = tree.cloned_to_cpu(state)
        size = sum(tensor.nbytes for tensor in tree.encode(copied)[1].values())
        with self._submitting:
            if self._closed:
                refused: Future[CheckpointInfo] = Future()
                refused.set_exception(FailedPrecondition("the run is shutting down: nothing is saved any more"))
                return refused
            self._waiting_bytes += size
            return self._writer.submit(self._write_copy, branch, step, copied, size)

    def _write_copy(self, branch: str, step: int, state: dict[str, Any], size: int) -> CheckpointInfo:
        try:
            info = self.store.write(branch=branch, step=step, state=state)
        finally:
            with self._submitting:
                self._waiting_bytes -= size
        self.last_step = step
        self._remove_superfluous()
        self._run.changed()
        return info

    def _remove_superfluous(self) -> None:
        with self._removing:
            pinned = {(record.parent_branch, record.parent_step) for record in self.branches.all()}
            if self.loaded is not None:
                pinned.add((self.loaded.branch, self.loaded.step))
            if self._asked_for is not None:
                pinned.add(self._asked_for)
            for old in self._retention.superfluous(self.store.all(), pinned=pinned):
                self.store.remove(old)


def _log_failure(written: Future[CheckpointInfo]) -> None:
    error = written.exception()
    if error is not None:
        log.error("a checkpoint could not be written: %s", error)
