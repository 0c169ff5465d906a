"""Wiring: a run with its publisher, its console and, where none is there, a studio of its own."""

from __future__ import annotations

import logging
import re
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import betterproto
from weightslab_common.bus import MessageT
from weightslab_common.bus_tls import context_of

from weightslab.branches import BranchTree
from weightslab.checkpointing import Checkpointing
from weightslab.checkpoints import CheckpointStore
from weightslab.follower import Follower
from weightslab.handlers import Handlers
from weightslab.media import MediaWorker
from weightslab.prediction_store import PredictionStore
from weightslab.publisher import Publisher
from weightslab.retention import Retention
from weightslab.run import Run
from weightslab.settings import TrainerSettings

if TYPE_CHECKING:
    from weightslab.studio import StudioHandle

log = logging.getLogger(__name__)

# How often the main thread looks up from a finished run, so that signals reach it.
_LOOK_UP_SECS = 0.2


class Service:
    """A served run. `stop` may be called twice."""

    def __init__(
        self,
        run: Run,
        *,
        experiment: str,
        settings: TrainerSettings,
        checkpoint_every: int,
        retention: Retention,
        restore: bool,
        studio: StudioHandle | None,
        nats_url: str,
        nats_token: str | None,
    ) -> None:
        self.experiment = experiment
        self.run = run
        folder = settings.data_dir / experiment
        predictions = folder / "predictions.db"
        self.branches = BranchTree(folder / "checkpoints")
        self.checkpoints = Checkpointing(
            run,
            store=CheckpointStore(folder / "checkpoints"),
            branches=self.branches,
            every=checkpoint_every,
            retention=retention,
            restore=restore,
        )
        self._studio = studio
        leads = run.peers is None or run.peers.leads
        if not leads:
            store = self.checkpoints.store
            assert run.peers is not None
            run.peers.obey = Follower(run, store).obey
        self._handlers = Handlers(run, checkpoints=self.checkpoints, timeout_secs=settings.command_timeout_secs)
        self._publisher = Publisher(
            run,
            experiment=experiment,
            nats_url=nats_url,
            nats_token=nats_token,
            nats_tls=context_of(settings),
            folder=folder,
            predictions=PredictionStore(predictions),
            handlers=self._handlers,
            media=MediaWorker(
                experiment=experiment,
                nats_url=nats_url,
                nats_token=nats_token,
                predictions=predictions,
                in_thread=settings.media_worker == "thread",
            ),
            speaks=leads,
        )
        self._stopped = threading.Lock()
        if leads:
            run.before_batch = self.checkpoints.before_batch
        run.on_change = self._publisher.changed
        self._publisher.start()

    def ask_ledger(self, method: str, request: betterproto.Message, reply_type: type[MessageT]) -> MessageT:
        """Ask the ledger that owns the experiment and wait for its answer. Not for the publisher thread."""
        return self._publisher.ask_ledger(method, request, reply_type)

    def stop(self) -> None:
        """Send what waits and end everything that was started."""
        if not self._stopped.acquire(blocking=False):
            return
        self.run.gate.close()
        if self.run.peers is None:
            self._handlers.leave_audit()
        self.checkpoints.close()
        self._publisher.stop()
        if self._studio is not None:
            self._studio.close()


def experiment_name() -> str:
    """A slug of the script's name."""
    script = Path(sys.argv[0] or "experiment")
    stem = script.parent.name if script.stem == "__main__" else script.stem
    return re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")[:64] or "experiment"
