"""The run: everything that is watched, and where it stands. Owned by the training thread.

Other threads read single attributes, and change things by jobs at the gate only. The discards of the splits are the
exception: they change under `edit_lock`, which the training thread holds for the moment in which it yields a batch.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader
from weightslab_common.errors import InvalidArgument
from weightslab_proto.weightslab.v1 import AuditCertificate

from weightslab.branches import FIRST_BRANCH
from weightslab.gate import Gate
from weightslab.hyperparameter_file import HyperparameterFile
from weightslab.hyperparameters import Hyperparameters
from weightslab.loader import WatchedLoader, same_draws
from weightslab.norms import LayerNorms
from weightslab.operations.state import ModelState
from weightslab.predictions import PREDICTION_RING_BYTES, PredictionRecord
from weightslab.records import TRAIN_MODE, Batch, CurvesRecord, Moment, Record, Ring
from weightslab.split import Split, same_samples

if TYPE_CHECKING:
    from weightslab.distributed import Peers
    from weightslab.loader_pass import LoaderPass
    from weightslab.stream_pass import StreamPass


class Run:
    """One training process, as far as it is watched."""

    def __init__(self) -> None:
        self.run_id = secrets.token_hex(8)
        self.on_change: Callable[[], None] = lambda: None
        self.gate = Gate(on_change=self.changed)
        self.ring: Ring[Record | CurvesRecord] = Ring()
        self.predictions: Ring[PredictionRecord] = Ring(capacity_bytes=PREDICTION_RING_BYTES)
        self.edit_lock = threading.Lock()
        self.hyperparameters = Hyperparameters()
        self.hyperparameter_files: list[HyperparameterFile] = []
        self.models: dict[str, torch.nn.Module] = {}
        # Beside each model that can be operated on, by its name.
        self.model_states: dict[str, ModelState] = {}
        # Of the models whose layers are measured.
        self.norms: list[LayerNorms] = []
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        self.splits: dict[str, Split] = {}
        self.loaders: list[WatchedLoader] = []
        self.step = 0
        self.mode = TRAIN_MODE
        self.branch = FIRST_BRANCH
        self.batch: Batch | None = None
        # Those under way, in the order in which they began.
        self.passes: list[LoaderPass | StreamPass] = []
        # The step at which a batch was yielded last: an edit holds from the next one.
        self.yielded_step = -1
        self.sample_count = 0
        # 0 when it is not known.
        self.total_steps = 0
        self.message = ""
        # Why a hyperparameter file is not followed; empty when all is well.
        self.file_fault = ""
        self.certificate: AuditCertificate | None = None
        # The other ranks, when there are some; set by the service.
        self.peers: Peers | None = None
        # Called at each arrival with the gate open; set by the service.
        self.before_batch: Callable[[], None] = lambda: None
        # The watched classification loss that also derives confidence, margin and the like.
        self.classification_loss: str | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> Run:
        # A model may hold its watched loss, and is copied for moving averages.
        return self

    def __reduce__(self) -> tuple[type[Run], tuple[()]]:
        # A model that is pickled with its watched loss is watched by nobody where it is read.
        return Run, ()

    def changed(self) -> None:
        """Something that the status tells is different now."""
        self.on_change()

    def moment(self) -> Moment:
        return Moment(self.branch, self.mode, self.step)

    def arrive(self) -> None:
        """The training thread is about to draw a batch. With peers they agree on each training batch instead."""
        if self.peers is not None:
            return
        self.gate.arrive()
        self.before_batch()

    def wait_for(self, condition: Callable[[], bool], *, message: str) -> None:
        """Hold the training thread until `condition` holds, and say why; pauses and commands are obeyed meanwhile."""
        self.message = message
        self.changed()
        try:
            self.gate.wait_for(condition)
        finally:
            self.message = ""
            self.changed()

    def before_step(self) -> None:
        """The optimizer that counts is about to take a step, or in an audit would."""
        for norms in self.norms:
            norms.measure()

    def count_step(self) -> None:
        self.step += 1
        self.gate.count_step()

    def next_obeying_step(self) -> int:
        """The first step whose batch obeys an edit that is applied now. Called with `edit_lock` held."""
        return self.step + 1 if self.yielded_step == self.step else self.step

    @property
    def epoch(self) -> int:
        return max((loader.epoch for loader in self.loaders if loader.train), default=0)

    def loader_for_training(self) -> WatchedLoader | None:
        return next((loader for loader in self.loaders if loader.train), None)

    def add_split(self, split: Split) -> Split:
        """Add a split, or return the one of that name when it holds the same samples."""
        known = self.splits.get(split.name)
        if known is None:
            self.splits[split.name] = split
            self.changed()
            return split
        if known.catalog.registration_id != split.catalog.registration_id:
            raise InvalidArgument(
                f"split {split.name!r} is already watched with other samples; give the second loader another `split`"
            )
        return known

    def end_pass(self, ended: LoaderPass | StreamPass) -> None:
        """If its batch is current, that of the pass around it is current again: of the one that began last."""
        self.passes.remove(ended)
        if ended.batch is not None and self.batch is ended.batch:
            self.batch = next((each.batch for each in reversed(self.passes) if each.batch is not None), None)

    def remade(self, loader: DataLoader[Any], dataset: Any, *, split: str) -> bool:
        """Whether this is a loader of `split` that has been through, made anew: it draws the same samples."""
        return any(
            known.split is not None
            and known.split.name == split
            and known.has_been_through
            and same_samples(known.split.dataset, dataset)
            and same_draws(known.loader, loader)
            for known in self.loaders
        )

    def add_loader(self, loader: WatchedLoader) -> None:
        """Add a loader, once. One that is made anew over the same samples goes on for the one that has been through."""
        if loader in self.loaders:
            return
        for number, former in enumerate(self.loaders):
            same = former.split is loader.split is not None and former.train == loader.train
            if same and former.has_been_through:
                former.close()
                loader.name, loader.epoch = former.name, max(loader.epoch, former.epoch)
                self.loaders[number] = loader
                break
        else:
            loader.name = unique_name(loader.name, {other.name: other for other in self.loaders})
            self.loaders.append(loader)
        self.changed()


def unique_name(name: str, taken: dict[str, Any]) -> str:
    """`name`, or `name-2`, `name-3`, … when it is taken."""
    candidates = (name if number == 1 else f"{name}-{number}" for number in range(1, len(taken) + 2))
    return next(candidate for candidate in candidates if candidate not in taken)
