"""Messages of the bus: any bytes where a registration, a batch, an edit or a request is expected."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import numpy as np
from weightslab_common import subjects
from weightslab_common.columns import F32, F64, I64, U32, pack
from weightslab_common.errors import InvalidArgument
from weightslab_ledger.catalog import Catalog, OutOfOrder
from weightslab_ledger.catalog_store import CatalogStore, decode_part, encode_part
from weightslab_ledger.ingest import Ingest, Message
from weightslab_ledger.store import Store
from weightslab_ledger.wire import edit_request, read_registration, selection_request
from weightslab_proto.weightslab.bus.v1 import (
    MetadataColumn,
    SampleValueBatch,
    SampleValueColumn,
    SignalBatch,
    SignalColumn,
    SplitRegistration,
)
from weightslab_proto.weightslab.v1 import EditOperation, EditSamplesRequest, Mode, SampleList, SampleRef, Target

UIDS = ["a", "b", "c", "日"]
# What the ledger takes for a message that makes no sense, and leaves out.
REFUSED = (InvalidArgument, OutOfOrder, ValueError)
# A fresh experiment now and then, so that what valid messages leave behind does not add up.
_MESSAGES_PER_EXPERIMENT = 2000

_LOOP = asyncio.new_event_loop()
_REGISTRATION = SplitRegistration(
    registration_id="r",
    split="train",
    sample_count=4,
    uids=UIDS,
    complete=True,
    run_id="run",
    sequence=1,
    metadata=[
        MetadataColumn(name="target", numbers=pack([1, 2, 3, 4], F64)),
        MetadataColumn(name="site", texts=["x", "y", "", "日"]),
    ],
    class_names=["one", "two"],
    media_kind="image",
)


class _Experiment:
    """An experiment that takes in values; registrations are planned beside it, since they are kept in the store."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="weightslab-fuzz-")
        catalog = Catalog()
        # No connection is made before something is written.
        store = CatalogStore(Store("redis://127.0.0.1:1"), "fuzz")
        self.ingest = Ingest(catalog, store, Path(self._folder.name), 1, 2**20)
        self.ingest.load()
        part = catalog.plan(*read_registration(bytes(_REGISTRATION)))
        assert part
        catalog.apply(part)
        self.taken = 0

    def take(self, what: str, content: bytes) -> None:
        self.taken += 1
        _LOOP.run_until_complete(self.ingest.take([Message(what, content, self.taken)]))

    def close(self) -> None:
        self.ingest.close()
        self._folder.cleanup()


_experiment: _Experiment | None = None


def attack(data: bytes) -> None:
    global _experiment
    if _experiment is None or _experiment.taken >= _MESSAGES_PER_EXPERIMENT:
        if _experiment is not None:
            _experiment.close()
        _experiment = _Experiment()
    which, content = data[:1], data[1:]
    match which:
        case b"R":
            _attack_registration(content)
        case b"E":
            for read in (edit_request, selection_request):
                try:
                    read(content)
                except REFUSED:
                    continue
        case b"V":
            _experiment.take(subjects.VALUES, content)
        case _:
            _experiment.take(subjects.SIGNALS, content)


def _attack_registration(content: bytes) -> None:
    catalog = Catalog()
    try:
        part = catalog.plan(*read_registration(content))
    except REFUSED:
        return
    if part is not None:
        kept = decode_part(encode_part(part))
        assert kept.new_uids == part.new_uids
        catalog.apply(part)


def seeds() -> list[bytes]:
    values = SampleValueBatch(
        run_id="run",
        sequence=2,
        branch="main",
        mode=Mode.TRAIN,
        split="train",
        registration_id="r",
        positions=pack([0, 2], U32),
        steps=pack([5, 5], I64),
        epochs=pack([0, 1], U32),
        columns=[SampleValueColumn(signal="train/loss", values=pack(np.array([0.5, np.nan]), F32))],
    )
    points = SignalBatch(
        run_id="run",
        sequence=3,
        branch="main",
        mode=Mode.TRAIN,
        columns=[SignalColumn(signal="train/loss", steps=pack([1, 2], I64), values=pack([0.5, np.inf], F64))],
    )
    edit = EditSamplesRequest(
        experiment="digits",
        edit_id="1",
        operation=EditOperation.ADD_TAG,
        tag="日本",
        target=Target(samples=SampleList(samples=[SampleRef(split="train", uid="a")])),
    )
    return [b"R" + bytes(_REGISTRATION), b"V" + bytes(values), b"S" + bytes(points), b"E" + bytes(edit)]
