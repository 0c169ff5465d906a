"""The functions that a training script calls."""

from __future__ import annotations

import atexit
import contextlib
import logging
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np
import torch
from torch.utils.data import DataLoader
from weightslab_common import settings as common_settings
from weightslab_common import traces
from weightslab_common.errors import FailedPrecondition, InvalidArgument
from weightslab_common.names import experiment_slug

from weightslab import optimizers, predictions, rng
from weightslab.distributed import Peers, is_distributed
from weightslab.hyperparameter_file import HyperparameterFile
from weightslab.kinds import Kind, kind_of
from weightslab.loader import WatchedLoader, is_iterable
from weightslab.losses import Watched, WatchedLoss
from weightslab.norms import LayerNorms
from weightslab.operations import ModelState
from weightslab.records import TRAIN_MODE, Batch, Record, Uids, copied_event, hand_off
from weightslab.retention import Retention
from weightslab.run import Run, unique_name
from weightslab.service import Service, experiment_name
from weightslab.settings import TrainerSettings
from weightslab.split import (
    Catalog,
    Split,
    class_names_of,
    metadata_columns,
    registration_id,
    targets_of,
    uids_of,
)

log = logging.getLogger(__name__)

ModelT = TypeVar("ModelT", bound=torch.nn.Module)
OptimizerT = TypeVar("OptimizerT", bound=torch.optim.Optimizer)
ParametersT = TypeVar("ParametersT")


class _Present:
    """The run of this process; one at a time."""

    run: Run | None = None
    service: Service | None = None


def _run() -> Run:
    if _Present.run is None:
        _Present.run = Run()
    return _Present.run


def watch_model(model: ModelT, name: str = "model", *, norms: Collection[str] = (), norms_every: int = 1) -> ModelT:
    """Watch a model: it is described, saved and audited. Returns it.

    `norms`, any of `gradient`, `weight` and `activation`, publishes that norm of each layer with parameters, as
    `gradient_norm/<layer>` and so on, every `norms_every` steps; they are measured when the watched optimizer steps.
    Raises InvalidArgument for a norm that does not exist.
    """
    run = _run()
    if all(known is not model for known in run.models.values()):
        known_as = unique_name(name, run.models)
        if norms:
            run.norms.append(LayerNorms(run, model, name=known_as, kinds=norms, every=norms_every))
        run.models[known_as] = model
        run.model_states[known_as] = ModelState(model)
        run.changed()
    return model


def watch_optimizer(optimizer: OptimizerT, name: str = "optimizer") -> OptimizerT:
    """Watch an optimizer: the steps of the first one watched are the steps of the run. Returns it."""
    run = _run()
    if all(known is not optimizer for known in run.optimizers.values()):
        optimizers.watch(optimizer, run=run, counts=not run.optimizers)
        run.optimizers[unique_name(name, run.optimizers)] = optimizer
        run.changed()
    return optimizer


def watch_loss(
    criterion: Callable[..., Any], name: str = "loss", *, per_sample: Callable[..., torch.Tensor] | None = None
) -> WatchedLoss:
    """A callable that returns what `criterion` returns and publishes it as `<split>/<name>`.

    Values of samples come from torch's own losses, from a criterion that returns one value per sample, or from
    `per_sample`, which is called with the same arguments. A cross-entropy loss over classes also gives
    `<split>/confidence`, `margin`, `correct`, `el2n` and `prediction`. Call it with `uids=` to say whose values
    they are when it is not those of the batch that was drawn last.
    """
    run = _run()
    if isinstance(criterion, WatchedLoss):
        if criterion._run is run:
            return criterion
        # Of a run that was stopped.
        criterion = criterion._call
    return WatchedLoss(criterion, run=run, name=name, per_sample=per_sample)


def watch_metric(metric: Callable[..., Any], name: str = "metric") -> Watched:
    """A callable that returns what `metric` returns and publishes it as `<split>/<name>`.

    A name with a slash is taken as it is: give one, for example `val/accuracy`, to a metric of a whole pass.
    """
    return Watched(metric, run=_run(), name=name)


def watch_loader(
    loader: DataLoader[Any] | WatchedLoader,
    split: str | None = None,
    *,
    train: bool | None = None,
    uids: Sequence[object] | Callable[[int], object] | None = None,
    uid_of: Callable[[Any], object] | None = None,
    metadata: Mapping[str, Sequence[object]] | None = None,
    class_names: Sequence[str] | None = None,
    media_kind: str | None = None,
) -> WatchedLoader:
    """A loader to iterate over in place of `loader`: it yields the same batches, less the discarded samples.

    `split` defaults to `train`, or `val` when a split `train` is watched already, unless the loader is that of `train`
    made anew after an epoch. `train` tells whether the loader feeds the optimizer; by default the split `train` does.
    `uids` names the samples, `metadata` gives one value per sample and name, `media_kind` is `image`, `volume`, `text`
    or empty when it cannot be told by the first sample.

    An iterable dataset needs the `uids` of all its samples, and `uid_of`, which tells the uid of one, unless its
    samples are mappings with `uid`. Then a discarded sample is left out after it was read, and its batch is smaller.
    A stream has no images, and begins its epoch anew after a restart. Without `uids` it has no samples to edit.
    """
    run = _run()
    if isinstance(loader, WatchedLoader):
        if loader.run is run:
            return loader
        # Of a run that was stopped.
        loader = loader.loader
    # A dataset that was wrapped to name its samples is shown as it was.
    dataset = getattr(loader.dataset, "watched_dataset", loader.dataset)
    name = split or ("train" if "train" not in run.splits or run.remade(loader, dataset, split="train") else "val")
    feeds = train if train is not None else name == "train"
    known: Split | None = None
    if is_iterable(loader.dataset) and uids is not None and not callable(uids):
        known = run.add_split(
            Split(
                _stream_catalog(name, uids, metadata=metadata or {}, class_names=class_names, media_kind=media_kind),
                dataset,
            )
        )
    elif is_iterable(loader.dataset):
        log.warning(
            "split %r is an iterable dataset: without `uids` its samples cannot be told apart nor discarded", name
        )
    else:
        catalog = _catalog(
            dataset, name, uids=uids, metadata=metadata or {}, class_names=class_names, media_kind=media_kind
        )
        known = run.add_split(Split(catalog, dataset))
    watched = WatchedLoader(loader, run=run, split=known, name=name, train=feeds, uid_of=uid_of)
    run.add_loader(watched)
    return watched


@overload
def watch_hyperparameters(parameters: str | Path) -> dict[str, Any]: ...
@overload
def watch_hyperparameters(parameters: ParametersT) -> ParametersT: ...


def watch_hyperparameters(parameters: Any) -> Any:
    """Watch a dict or a dataclass, nested as it may be, or a YAML file: its values can be changed while the loop runs.

    Returns it; of a file, given by its path, the dict that it holds. The file is followed: a change of it is taken
    over as if each value had been set, unless one is wrong, which the status then says, and the old values stay.
    A value is changed in place before the next batch. `lr`, `learning_rate` and everything under `optimizer` also set
    that option of the watched optimizer; `batch_size` holds from the next epoch on.
    """
    run = _run()
    if isinstance(parameters, str | Path):
        followed = HyperparameterFile(Path(parameters))
        run.hyperparameter_files.append(followed)
        parameters = followed.values
    run.hyperparameters.watch(parameters)
    run.changed()
    return parameters


def log_sample_signals(uids: Uids, *, split: str | None = None, **values: Sequence[float] | torch.Tensor) -> None:
    """Publish values of samples that the loop knows of, as `<split>/<name>`; `split` defaults to that of the batch."""
    run = _run()
    batch = _batch_of(run, uids, split)
    shape = batch.positions.shape
    columns: dict[str, Any] = {}
    on_device: torch.Tensor | None = None
    for name, column in values.items():
        if isinstance(column, torch.Tensor):
            columns[name] = handed = hand_off(column)
            if type(handed) is not np.ndarray:
                on_device = column
        else:
            columns[name] = handed = np.array(column, dtype=np.float32)
        if handed.shape != shape:
            raise InvalidArgument(f"{name} has the shape {tuple(handed.shape)}, {len(batch.positions)} uids were given")
    ready = None if on_device is None else copied_event(on_device)
    run.ring.add(Record(run.moment(), f"{batch.split.name}/", None, batch, columns, derive=None, ready=ready))


def log_predictions(
    uids: Uids,
    *,
    split: str | None = None,
    masks: torch.Tensor | np.ndarray[Any, Any] | None = None,
    boxes: Sequence[Any] | None = None,
    values: Sequence[float] | torch.Tensor | None = None,
) -> None:
    """Keep what the model predicts of samples, to be shown beside the ground truth; the newest of each epoch holds.

    `masks` are class ids of shape (B, H, W) or (B, Z, H, W). `boxes` has one entry per sample: a mapping with `boxes`
    (N, 4) as left, top, right, bottom in pixels and, if known, `labels` and `scores`, or just such an array. `values`
    is one number per sample and becomes `<split>/prediction`. While auditing nothing is kept but values.
    Raises InvalidArgument when a sample does not exist or a shape does not fit.
    """
    run = _run()
    batch = _batch_of(run, uids, split)
    if values is not None:
        log_sample_signals(uids, split=batch.split.name, prediction=values)
    records = []
    for what, given in (("masks", masks), ("boxes", boxes)):
        if given is not None and len(given) != len(batch.positions):
            raise InvalidArgument(f"{what} has {len(given)} entries, {len(batch.positions)} uids were given")
    if masks is not None:
        ids = torch.as_tensor(masks)
        if ids.ndim not in (3, 4) or ids.is_floating_point():
            raise InvalidArgument(
                f"masks hold class ids of shape (B, H, W) or (B, Z, H, W), not {ids.dtype} {tuple(ids.shape)}"
            )
        records.append(predictions.of_masks(run.moment(), batch, ids))
    if boxes is not None:
        records.append(predictions.of_boxes(run.moment(), batch, boxes))
    for record in records if run.mode == TRAIN_MODE else ():
        run.predictions.add(record)


def _batch_of(run: Run, uids: Uids, split: str | None) -> Batch:
    """The samples that the user names, of `split` or else of the split of the present batch."""
    named = run.splits.get(split) if split else (run.batch.split if run.batch else None)
    if named is None:
        raise InvalidArgument(f"split {split!r} is not watched; there are: {', '.join(run.splits) or 'none'}")
    return Batch(named, named.positions_of(uids), run.batch.epoch if run.batch else run.epoch)


def serve(
    *,
    serving_grpc: bool = True,
    serving_cli: bool = True,
    experiment: str | None = None,
    checkpoint_every: int = 0,
    keep_checkpoints: int = 20,
    keep_checkpoint_every: int = 0,
    restore: bool = True,
    total_steps: int = 0,
    data_dir: str | Path | None = None,
    **unused: object,
) -> None:
    """Make the run visible and obey commands, from now on.

    Attaches to the bus in `WL_NATS_URL`; with none set, starts the embedded studio unless `serving_grpc` is false.
    `serving_cli` opens the console. `checkpoint_every` saves every so many steps (0: only when asked). Of each branch
    the last `keep_checkpoints` are kept, branch points, and for ever the first of every `keep_checkpoint_every` steps;
    with `restore` a script that is started again goes on at the newest one.
    Other options are those of older scripts, and are left aside with a warning.
    Raises FailedPrecondition when the run is served already.
    """
    if _Present.service is not None:
        raise FailedPrecondition("this run is served already")
    retention = Retention(keep_last=keep_checkpoints, keep_every=keep_checkpoint_every)
    if unused:
        log.warning("serve: %s has no meaning here and is left aside", ", ".join(sorted(unused)))
    given = None if data_dir is None else Path(data_dir)
    settings = common_settings.load(TrainerSettings, experiment=experiment, data_dir=given)
    name = experiment_slug(settings.experiment or experiment_name())
    traces.configure("trainer", url=settings.traces_url)
    run = _run()
    run.total_steps = total_steps
    studio = None
    nats_url, nats_token = settings.nats_url, settings.nats_token
    if is_distributed():
        run.peers = Peers(run)
    leads = run.peers is None or run.peers.leads
    if nats_url is None and leads:
        if not serving_grpc:
            raise FailedPrecondition("there is no bus to attach to: set WL_NATS_URL, or serve with serving_grpc=True")
        from weightslab.studio import attach_embedded

        studio = attach_embedded(settings.data_dir)
        nats_url, nats_token = studio.nats_url, studio.nats_token
    if run.peers is not None:
        # The other ranks attach to the studio of the first.
        nats_url, nats_token = run.peers.share([nats_url, nats_token])
    assert nats_url is not None
    _Present.service = Service(
        run,
        experiment=name,
        settings=settings,
        checkpoint_every=checkpoint_every,
        retention=retention,
        restore=restore,
        studio=studio,
        nats_url=nats_url,
        nats_token=nats_token,
    )
    atexit.register(stop)
    _end_in_order_on_sigterm()
    if serving_cli and leads:
        from weightslab.console import start_console

        try:
            port = start_console(
                experiment=name,
                nats_url=nats_url,
                nats_token=nats_token,
                host=settings.cli_host,
                port=settings.cli_port,
            )
        except FailedPrecondition:
            stop()
            raise
        log.info("console of experiment %s: %s:%d", name, settings.cli_host, port)


def keep_serving(timeout: float | None = None, *, release_gpu: bool = False) -> None:
    """The loop has ended: keep the run visible and its commands answered, until SIGINT or SIGTERM, then stop.

    `timeout` ends it after so many seconds. `release_gpu` gives the memory that PyTorch holds in reserve back.
    """
    if _Present.service is None:
        raise FailedPrecondition("call serve() before keep_serving()")
    gate = _Present.service.run.gate
    if release_gpu and torch.cuda.is_available():
        torch.cuda.empty_cache()
    with _handled((signal.SIGINT, signal.SIGTERM), gate.close):
        timer = threading.Timer(timeout, gate.close) if timeout else None
        if timer is not None:
            timer.daemon = True
            timer.start()
        if _Present.service.run.peers is None or _Present.service.run.peers.leads:
            gate.finish()
        if timer is not None:
            timer.cancel()
        stop()


@contextlib.contextmanager
def _handled(numbers: Sequence[signal.Signals], react: Callable[[], None]) -> Iterator[None]:
    """Let signals call `react`, and afterwards do what they did before: a notebook goes on."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, lambda *_: react()) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            # None was set by other than Python, and cannot be set again.
            if handler is not None:
                signal.signal(number, handler)


def stop() -> None:
    """Send what waits, end everything that `serve` started, and forget what is watched."""
    run, service = _Present.run, _Present.service
    _Present.run = None
    _Present.service = None
    for loader in run.loaders if run else ():
        loader.close()
    if service is not None:
        atexit.unregister(stop)
        service.stop()
        traces.stop()


def _end_in_order_on_sigterm() -> None:
    """Let SIGTERM end the process as `sys.exit` does, so that what waits is sent; a handler of the user stays."""
    if threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def _catalog(
    dataset: Any,
    split: str,
    *,
    uids: Sequence[object] | Callable[[int], object] | None,
    metadata: Mapping[str, Sequence[object]],
    class_names: Sequence[str] | None,
    media_kind: str | None,
) -> Catalog:
    names = uids_of(dataset, uids)
    columns = metadata_columns(len(names), targets=targets_of(dataset), given=metadata)
    found = _kind_of(dataset)
    return Catalog(
        split=split,
        uids=names,
        metadata=columns,
        class_names=class_names_of(dataset, class_names),
        media_kind=found.media_kind if media_kind is None else media_kind,
        slice_count=found.slice_count,
        registration_id=registration_id(split, names, columns),
        layers=found.layers,
    )


def _stream_catalog(
    split: str,
    uids: Sequence[object],
    *,
    metadata: Mapping[str, Sequence[object]],
    class_names: Sequence[str] | None,
    media_kind: str | None,
) -> Catalog:
    """What is registered of an iterable dataset: what the user says, because nothing can be read out of order."""
    names = uids_of(uids, uids)
    columns = metadata_columns(len(names), targets=None, given=metadata)
    return Catalog(
        split=split,
        uids=names,
        metadata=columns,
        class_names=tuple(map(str, class_names or ())),
        media_kind=media_kind or "",
        slice_count=0,
        registration_id=registration_id(split, names, columns),
    )


def _kind_of(dataset: Any) -> Kind:
    """What the first sample looks like. Moves no random number stream."""
    if not len(dataset):
        return Kind()
    try:
        with rng.preserved():
            return kind_of(dataset[0])
    except Exception as error:
        # The user's dataset may raise anything; without a kind its samples are shown without an image.
        log.debug("the first sample shows no image: %s", error)
        return Kind()
