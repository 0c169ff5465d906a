"""Commands that list samples or edit them."""

from __future__ import annotations

import numpy as np
from weightslab_common.columns import U8, unpack, unpack_bits
from weightslab_common.names import tag_text
from weightslab_proto.weightslab.v1 import (
    EditOperation,
    QuerySamplesRequest,
    QuerySamplesResponse,
)

from weightslab.console import replies
from weightslab.console.experiment import Experiment
from weightslab.console.grammar import Arguments
from weightslab.console.replies import Reply

DEFAULT_LIMIT = 100
_PAGE_MAX = 1000


async def list_uids(experiment: Experiment, given: Arguments) -> Reply:
    limit = given.integer("--limit", default=DEFAULT_LIMIT, minimum=1)
    conditions = []
    split = await experiment.split_of(given.words[0]) if given.words else None
    if split is not None:
        conditions.append(f"split == {quoted(split)}")
    if "--discarded" in given.flags:
        conditions.append("discarded")
    filter = " and ".join(conditions)
    listed: list[Reply] = []
    while True:
        page = await _page(experiment, filter, offset=len(listed), limit=min(limit - len(listed), _PAGE_MAX))
        listed += _rows(page)
        if not page.uids or len(listed) >= min(limit, page.matched):
            return {"matched": page.matched, "shown": len(listed), "uids": listed}


async def _page(experiment: Experiment, filter: str, *, offset: int, limit: int) -> QuerySamplesResponse:
    request = QuerySamplesRequest(
        experiment=experiment.name, filter=filter, offset=offset, limit=limit, columns=["uid"]
    )
    return await experiment.ledger("query_samples", request, QuerySamplesResponse)


def _rows(page: QuerySamplesResponse) -> list[Reply]:
    count = len(page.uids)
    splits = unpack(page.split_index, U8, count=count, name="split_index")
    discarded = unpack_bits(page.discarded, count=count, name="discarded")
    tags: list[list[str]] = [[] for _ in range(count)]
    for column in page.tags:
        for position in np.flatnonzero(unpack_bits(column.members, count=count, name="tag")):
            tags[position].append(column.tag)
    return [
        {"split": page.splits[splits[row]], "uid": uid, "discarded": bool(discarded[row]), "tags": sorted(tags[row])}
        for row, uid in enumerate(page.uids)
    ]


def quoted(text: str) -> str:
    """`text` as a string of the query language."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


async def discard(experiment: Experiment, given: Arguments) -> Reply:
    return await _edit(experiment, given.words, given, EditOperation.DISCARD)


async def undiscard(experiment: Experiment, given: Arguments) -> Reply:
    return await _edit(experiment, given.words, given, EditOperation.RESTORE)


async def add_tag(experiment: Experiment, given: Arguments) -> Reply:
    *uids, tag = given.words
    return await _edit(experiment, uids, given, EditOperation.ADD_TAG, tag=tag_text(tag))


async def _edit(
    experiment: Experiment, uids: list[str], given: Arguments, operation: EditOperation, *, tag: str = ""
) -> Reply:
    # Named twice is named once.
    samples = await experiment.samples(list(dict.fromkeys(uids)), loader=given.options.get("--loader"))
    return replies.edit(await experiment.edit(operation, samples, tag=tag))
