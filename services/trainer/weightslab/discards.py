"""Follows the edits of the ledger, so that the samplers leave out what people discard. Runs on the publisher thread."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from weightslab_common import subjects
from weightslab_common.bus import Bus
from weightslab_common.columns import U32, pack_bits, unpack, unpack_bits
from weightslab_common.errors import WeightsLabError
from weightslab_proto.weightslab.bus.v1 import (
    ApplyEditRequest,
    ApplyEditResponse,
    EditEvent,
    GetDiscardsRequest,
    GetDiscardsResponse,
    LiveUpdate,
)

from weightslab.run import Run
from weightslab.split import Split

log = logging.getLogger(__name__)

_RETRY_SECS = 0.25
_REQUEST_TIMEOUT_SECS = 5.0
# Effective steps of past revisions that are kept for a late or repeated request.
_REMEMBERED_EDITS = 1024


class Discards:
    """The revision that the samplers obey, and how they came to it."""

    def __init__(self, run: Run, *, folder: Path) -> None:
        self._run = run
        self._folder = folder
        self._bus: Bus | None = None
        self._experiment = ""
        self._rows: dict[str, NDArray[np.uint32]] = {}
        self._effective: dict[int, tuple[int, str]] = {}
        self._changing = asyncio.Lock()
        self._stale = asyncio.Event()
        self.revision = 0

    def attach(self, bus: Bus, experiment: str) -> None:
        self._bus = bus
        self._experiment = experiment
        self.refresh()

    def refresh(self) -> None:
        """Something may have been missed: ask the ledger."""
        self._stale.set()

    def recall(self, split: Split) -> None:
        """Obey, until the ledger answers, what the last process of this experiment obeyed."""
        path = self._path(split)
        try:
            kept = json.loads(path.read_text())
            mask = unpack_bits(bytes.fromhex(kept["discarded"]), count=len(split))
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, WeightsLabError) as error:
            log.warning("%s cannot be read (%s); the ledger will tell the discards", path, error)
            return
        with self._run.edit_lock:
            self._put(split, mask)

    async def follow(self) -> None:
        """Ask the ledger whenever something may have been missed, until cancelled."""
        while True:
            await self._stale.wait()
            self._stale.clear()
            try:
                async with self._changing:
                    await self._fetch()
            except WeightsLabError as error:
                log.debug("the discards are not known yet: %s", error)
                self._stale.set()
                await asyncio.sleep(_RETRY_SECS)

    async def apply(self, request: ApplyEditRequest) -> ApplyEditResponse:
        """Answer `command.apply`: obey all edits up to the one carried, and tell from which step."""
        await self.hear(request.event)
        async with self._changing:
            if self.revision < request.event.revision:
                await self._fetch()
            step, branch = self._effective.get(
                request.event.revision, (self._run.next_obeying_step(), self._run.branch)
            )
            return ApplyEditResponse(revision=self.revision, effective_step=step, branch=branch)

    async def hear(self, event: EditEvent) -> None:
        """Obey one edit, if it is the next; a gap is mended by asking the ledger."""
        async with self._changing:
            if event.revision <= self.revision:
                return
            if event.revision > self.revision + 1 or self._rows.keys() != self._run.splits.keys():
                self.refresh()
                return
            discarded = unpack(event.discarded_rows, U32, name="discarded_rows")
            restored = unpack(event.restored_rows, U32, name="restored_rows")
            with self._run.edit_lock:
                for name, rows in self._rows.items():
                    split = self._run.splits[name]
                    mask = self._known(split).copy()
                    mask[np.isin(rows, discarded)] = True
                    mask[np.isin(rows, restored)] = False
                    self._put(split, mask)
                self._obeyed(event.revision)
        if len(discarded) or len(restored):
            await self._keep()

    async def hear_live(self, update: LiveUpdate) -> None:
        """The ledger says where it stands: an edit that was not heard shows here."""
        if update.revision != self.revision:
            self.refresh()

    async def _fetch(self) -> None:
        """Take over what the ledger says of every split. Called with `_changing` held."""
        assert self._bus is not None
        replies: dict[str, GetDiscardsResponse] = {}
        for split in list(self._run.splits.values()):
            replies[split.name] = await self._bus.request(
                subjects.ledger(self._experiment, "discards"),
                GetDiscardsRequest(split=split.name, registration_id=split.catalog.registration_id),
                GetDiscardsResponse,
                timeout_secs=_REQUEST_TIMEOUT_SECS,
                part="ledger",
            )
        masks = {}
        for name, reply in replies.items():
            count = len(self._run.splits[name])
            masks[name] = unpack_bits(reply.discarded, count=count, name="discarded")
            self._rows[name] = unpack(reply.rows, U32, count=count, name="rows")
        if not masks:
            return
        with self._run.edit_lock:
            for name, mask in masks.items():
                self._put(self._run.splits[name], mask)
            # An edit between two replies makes them differ: what is missing in the older one is fetched next.
            self._obeyed(min(reply.revision for reply in replies.values()))
        await self._keep()

    def _put(self, split: Split, mask: NDArray[np.bool_]) -> None:
        """Make `mask` hold: now, or with peers when they have agreed. Called with `edit_lock` held."""
        if self._run.peers is None:
            split.replace(mask)
        else:
            self._run.peers.hold_back(split.name, mask)

    def _known(self, split: Split) -> NDArray[np.bool_]:
        return split.discarded if self._run.peers is None else self._run.peers.discards_of(split.name)

    def _obeyed(self, revision: int) -> None:
        """Note from which step the edits up to `revision` hold. Called with `edit_lock` held."""
        for passed in range(max(self.revision + 1, revision - _REMEMBERED_EDITS), revision + 1):
            self._effective[passed] = (self._run.next_obeying_step(), self._run.branch)
        while len(self._effective) > _REMEMBERED_EDITS:
            del self._effective[next(iter(self._effective))]
        self.revision = revision
        self._run.gate.poke()
        self._run.changed()

    async def _keep(self) -> None:
        masks = [(self._path(split), self._known(split)) for split in self._run.splits.values()]
        try:
            # Shielded: the end of the run must not take back what was obeyed.
            await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, _write_masks, masks))
        except OSError as error:
            log.warning("the discards cannot be kept for a restart: %s", error)

    def _path(self, split: Split) -> Path:
        name = hashlib.sha256(split.catalog.registration_id.encode()).hexdigest()[:32]
        return self._folder / f"{name}.json"


def _write_masks(masks: list[tuple[Path, NDArray[np.bool_]]]) -> None:
    for path, mask in masks:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps({"discarded": pack_bits(mask).hex()}))
        os.replace(partial, path)
