"""Tags and discards from within a script, by the same requests as any viewer's. The caller waits for the ledger."""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import betterproto
from weightslab_common.errors import FailedPrecondition, InvalidArgument, NotFound, Unavailable
from weightslab_proto.weightslab.v1 import (
    Edit,
    EditOperation,
    EditSamplesRequest,
    EditSamplesResponse,
    QuerySamplesRequest,
    QuerySamplesResponse,
    SampleList,
    SampleRef,
    Target,
)

from weightslab.identified import handle_of, texts_of

if TYPE_CHECKING:
    from weightslab.run import Run
    from weightslab.split import Split

log = logging.getLogger(__name__)

AUTHOR = "script"
_PAGE = 1000
# The ledger may still be starting, or have the registration of the split to read.
_LEDGER_SECS = 15.0
_RETRY_SECS = 0.1


class Ledger(Protocol):
    """Who answers: the ledger that owns the experiment, over the bus."""

    experiment: str

    def ask_ledger(self, method: str, request: betterproto.Message, reply_type: type[Any]) -> Any: ...


def edit(
    run: Run, ledger: Ledger, sample_ids: Any, *, operation: EditOperation, tag: str = "", origin: str | None = None
) -> Edit:
    """Make one edit and return it once it is on disk. Raises InvalidArgument for unknown samples, Unavailable."""
    uids = texts_of(sample_ids)
    if not uids:
        raise InvalidArgument("no samples are named")
    split = split_with(run, uids, origin=origin)
    samples = SampleList(samples=[SampleRef(split=split.name, uid=uid) for uid in uids])
    request = EditSamplesRequest(
        experiment=ledger.experiment,
        # The same in every attempt, so that an attempt that was half heard is not made twice.
        edit_id=uuid.uuid4().hex,
        operation=operation,
        tag=tag,
        target=Target(samples=samples),
        author=AUTHOR,
    )
    reply: EditSamplesResponse = _ask(ledger, "edit_samples", request, EditSamplesResponse)
    return reply.edit


def query(run: Run, ledger: Ledger, condition: str, *, origin: str | None, limit: int | None) -> list[int | str]:
    """The uids of the samples of which `condition`, a query expression, holds; of one split when `origin` names it."""
    if origin is not None:
        condition = f"{condition} and split == {quoted(split_named(run, origin).name)}"
    found: list[int | str] = []
    while limit is None or len(found) < limit:
        wanted = _PAGE if limit is None else min(_PAGE, limit - len(found))
        request = QuerySamplesRequest(
            experiment=ledger.experiment, filter=condition, offset=len(found), limit=wanted, columns=["split"]
        )
        page: QuerySamplesResponse = _ask(ledger, "query_samples", request, QuerySamplesResponse)
        found += map(handle_of, page.uids)
        if not page.uids or len(found) >= page.matched:
            break
    return found


def quoted(text: str) -> str:
    """A text of the query language."""
    return json.dumps(text, ensure_ascii=False)


def split_named(run: Run, origin: str) -> Split:
    """A split by its own name or by that of a loader. Raises NotFound that lists what there is."""
    for loader in run.loaders:
        if loader.name == origin and loader.split is not None:
            return loader.split
    if origin in run.splits:
        return run.splits[origin]
    known = ", ".join([*run.splits, *(loader.name for loader in run.loaders if loader.name not in run.splits)])
    raise NotFound(f"there is no split or loader {origin!r}; there are: {known or 'none'}")


def split_with(run: Run, uids: Sequence[str], *, origin: str | None = None) -> Split:
    """The split that has all of these samples: the one named, else that of the present batch, else the first.

    Raises InvalidArgument that names samples which no split has.
    """
    if origin is not None:
        split = split_named(run, origin)
        split.positions_of(uids)
        return split
    present = [run.batch.split] if run.batch else []
    refused: InvalidArgument | None = None
    for split in (*present, *run.splits.values()):
        try:
            split.positions_of(uids)
        except InvalidArgument as error:
            refused = refused or error
            continue
        return split
    raise refused or InvalidArgument("no data is watched")


def _ask(ledger: Ledger, method: str, request: betterproto.Message, reply_type: type[Any]) -> Any:
    end = time.monotonic() + _LEDGER_SECS
    while True:
        try:
            return ledger.ask_ledger(method, request, reply_type)
        except (Unavailable, NotFound, FailedPrecondition) as error:
            # The samples are known here: the ledger will know them when it has read their registration.
            if time.monotonic() > end:
                raise
            log.debug("the ledger is not ready: %s", error)
        time.sleep(_RETRY_SECS)
