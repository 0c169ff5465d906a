"""Making edits: one after the other, on disk before they are answered, then told to the trainer and to everyone."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

import numpy as np
from weightslab_common import subjects
from weightslab_common.bus import Bus
from weightslab_common.calls import stop_if_unwanted
from weightslab_common.columns import U32, pack
from weightslab_common.errors import Aborted, InvalidArgument, Unavailable, WeightsLabError
from weightslab_common.messages import encoded
from weightslab_proto.weightslab.bus.v1 import ApplyEditRequest, ApplyEditResponse, EditEvent
from weightslab_proto.weightslab.v1 import Counters, Edit, EditOperation

from weightslab_ledger.blobs import Rows
from weightslab_ledger.edit_store import EditStore, differences
from weightslab_ledger.edits import DISCARDS, EditState, Entry, Order, Summary
from weightslab_ledger.replay import state_at

log = logging.getLogger(__name__)

APPLY_TIMEOUT_SECS = 1.5


def edit_message(summary: Summary, counters: Counters | None = None) -> Edit:
    """An edit as the API shows it; counters are known only when it was just made."""
    message = Edit(
        revision=summary.revision,
        edit_id=summary.edit_id,
        author=summary.author,
        operation=summary.operation,
        tag=summary.tag,
        changed_count=summary.changed_count,
        target_count=summary.target_count,
        created_unix_ms=summary.created_unix_ms,
        effective_step=summary.effective_step,
        effective_branch=summary.effective_branch,
        undone_revision=summary.undone_revision,
        new_tag=summary.new_tag,
    )
    if counters is not None:
        message.counters = counters
    return message


def event_of(entry: Entry, edit: Edit) -> EditEvent:
    """What everyone is told of an edit."""
    rows = {change.value: change.rows for change in entry.changes if change.bitmap == DISCARDS}
    nothing = np.empty(0, dtype=np.uint32)
    return EditEvent(
        discarded_rows=pack(rows.get(True, nothing), U32),
        restored_rows=pack(rows.get(False, nothing), U32),
        edit=encoded(edit),
        revision=entry.summary.revision,
    )


class Editor:
    """The only writer of an experiment's edits, as long as its lease holds."""

    def __init__(
        self,
        *,
        experiment: str,
        bus: Bus,
        store: EditStore,
        token: int,
        row_count: Callable[[], int],
        counters: Callable[[], Counters],
    ) -> None:
        self.state = EditState()
        self._experiment = experiment
        self._bus = bus
        self._store = store
        self._token = token
        self._row_count = row_count
        self._counters = counters
        self._turn = asyncio.Lock()
        # A write was sent and its outcome is not known: the log must be read before the next one.
        self._unsure = False
        # All edits up to here have an effective step.
        self._obeyed = 0

    async def load(self) -> None:
        """Read the log, and compare what it adds up to with the bitmaps. Raises Unavailable."""
        await self._catch_up()
        for sentence in await asyncio.to_thread(differences, self.state, await self._store.bitmaps()):
            log.error("%s: the log counts, and the store disagrees: %s", self._experiment, sentence)

    async def _catch_up(self) -> None:
        async for entry in self._store.load(self.state.revision):
            self.state.apply(entry)
        self._unsure = False

    async def edit(
        self,
        *,
        edit_id: str,
        author: str,
        operation: EditOperation,
        tag: str,
        expected_revision: int | None,
        target: Callable[[], Awaitable[Rows]],
        new_tag: str = "",
    ) -> Edit:
        """Make an edit. `target` finds the rows at the revision at which the edit is applied.

        Raises InvalidArgument, NotFound, Aborted, ResourceExhausted, Unavailable, and DeadlineExceeded when nobody
        waits any more before it is written. Nothing is changed then, except that after Unavailable the edit may have
        been made, which a retry with the same id finds out.
        """

        async def plan(now: int) -> Entry:
            if expected_revision is not None and expected_revision != self.state.revision:
                raise Aborted(
                    f"the experiment stands at revision {self.state.revision}, not at {expected_revision}: look again"
                )
            rows = await target()
            order = Order(edit_id, author, operation, tag, rows, now, new_tag)
            # Of a million samples with hundreds of tags this takes seconds; nothing changes the state meanwhile.
            return await asyncio.to_thread(self.state.plan, order)

        return await self._commit(edit_id, plan)

    async def undo(self, *, edit_id: str, author: str, revision: int) -> Edit:
        """Take back an edit, or the newest one for revision 0. Raises as `edit`, and FailedPrecondition."""

        async def plan(now: int) -> Entry:
            chosen = revision or self.state.newest_to_undo()
            self.state.summary(chosen)
            undone = await self._store.entry(chosen)
            nothing = np.empty(0, dtype=np.uint32)
            return self.state.plan_undo(Order(edit_id, author, EditOperation.UNDO, "", nothing, now), undone)

        return await self._commit(edit_id, plan)

    async def _commit(self, edit_id: str, plan: Callable[[int], Awaitable[Entry]]) -> Edit:
        if not 1 <= len(edit_id) <= 64:
            raise InvalidArgument(f"an edit_id has 1 to 64 characters, this one has {len(edit_id)}")
        async with self._turn:
            if self._unsure:
                await self._catch_up()
            if known := self.state.known(edit_id):
                return edit_message(known, self._counters())
            stop_if_unwanted()
            entry = await plan(int(time.time() * 1000))
            stop_if_unwanted()
            await self._write(entry)
            edit = edit_message(entry.summary, self._counters())
            event = event_of(entry, edit)
            await self._tell(event)
        return await self._apply(event, edit)

    async def _write(self, entry: Entry) -> None:
        self._unsure = True
        verdict = await self._store.append(entry, self.state, token=self._token, row_count=self._row_count())
        if verdict.word != "OK":
            # Only this ledger writes under this token: the log holds an edit whose answer was lost.
            await self._catch_up()
            raise Aborted(f"the experiment stands at revision {verdict.revision} now; send the edit again")
        self.state.apply(entry)
        self._unsure = False

    async def _tell(self, event: EditEvent) -> None:
        try:
            await self._bus.publish(subjects.subject(self._experiment, subjects.EDITS), event)
        except Exception as error:
            # A hint: `live` repeats the revision, and whoever missed this fetches the log.
            log.warning("edit %d could not be told on the bus: %s", event.revision, error)

    async def _apply(self, event: EditEvent, edit: Edit) -> Edit:
        """Ask the trainer to obey; without an answer the edit holds all the same."""
        try:
            answer = await self._bus.request(
                subjects.command(self._experiment, "apply"),
                ApplyEditRequest(event=event),
                ApplyEditResponse,
                timeout_secs=APPLY_TIMEOUT_SECS,
                part="trainer",
            )
        except WeightsLabError as error:
            log.debug("edit %d waits for a trainer: %s", event.revision, error)
            return edit
        await self.note_effective(event.revision, step=answer.effective_step, branch=answer.branch)
        summary = self.state.summary(event.revision)
        return edit_message(summary, edit.counters)

    async def note_effective(self, revision: int, *, step: int, branch: str) -> None:
        """Keep from which step an edit holds."""
        self.state.set_effective(revision, step=step, branch=branch)
        try:
            await self._store.set_effective(revision, step=step, branch=branch)
        except Unavailable as error:
            log.warning("the effective step of edit %d is kept in memory only: %s", revision, error)

    async def obeyed(self, revision: int, *, step: int, branch: str) -> None:
        """A trainer obeys every edit up to `revision`, at the latest from `step` on."""
        settled = time.time() * 1000 - 2 * APPLY_TIMEOUT_SECS * 1000
        while self._obeyed < min(revision, self.state.revision):
            summary = self.state.summary(self._obeyed + 1)
            if summary.created_unix_ms > settled:
                # Its own request to the trainer is still on its way, and knows the step exactly.
                return
            if summary.effective_step is None:
                await self.note_effective(summary.revision, step=step, branch=branch)
            self._obeyed += 1

    async def state_at(self, revision: int) -> EditState:
        """Tags and discards as they were, rebuilt from the log. Raises NotFound, Unavailable."""
        if revision:
            self.state.summary(revision)
        return await state_at(self._store.load(0), revision)

    def newest_edit_of(self, row: int) -> Edit | None:
        """The newest edit that changed a sample."""
        last = self.state.last_revision
        revision = int(last[row]) if row < len(last) else 0
        return edit_message(self.state.summary(revision)) if revision else None

    def list(self, *, after_revision: int, limit: int, newest_first: bool) -> list[Edit]:
        """Edits after a revision."""
        found = self.state.summaries[min(after_revision, len(self.state.summaries)) :]
        chosen = found[::-1][:limit] if newest_first else found[:limit]
        return [edit_message(summary) for summary in chosen]
