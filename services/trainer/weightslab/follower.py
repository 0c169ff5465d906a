"""What a rank other than 0 does when rank 0 has done it."""

from __future__ import annotations

from weightslab import rng, snapshots, tuning
from weightslab.audit import Audit
from weightslab.checkpoints import CheckpointStore
from weightslab.companions import find_companions
from weightslab.distributed import Command
from weightslab.run import Run


class Follower:
    """Obeys the commands of rank 0, on the training thread. Reads checkpoints from the folder that all ranks share."""

    def __init__(self, run: Run, store: CheckpointStore) -> None:
        self._run = run
        self._store = store
        self._audit = Audit(run)

    def obey(self, command: Command) -> None:
        match command:
            case {"mode": mode}:
                self._audit.set_mode(mode)
            case {"hyperparameter": name, "value": value}:
                tuning.apply(self._run, name, value)
            case {"restore": [branch, step]}:
                self._restore(branch, step)

    def _restore(self, branch: str, step: int) -> None:
        """Weights and optimizers as saved by rank 0; the streams of random numbers stay this rank's own."""
        run = self._run
        state = self._store.read(self._store.at_or_before(branch, step))
        companions = find_companions(run)
        snapshots.check_fits(run, state, companions)
        with rng.preserved(snapshots.generators(run)):
            snapshots.restore(run, state, companions)
        tuning.keep_current(run, saved=state["hyperparameters"], companions=companions)
        run.step = step
        run.yielded_step = -1
