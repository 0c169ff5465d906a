"""What was tagged and discarded at an earlier time, rebuilt from the edit log.

A trainer obeys edits in the order of their revisions, and says of each from which step of which branch it held.
Branches are taken one after the other, and an edit holds on every branch that begins after it; so at a step of a branch
the log holds up to the newest edit that became effective on a branch before it, or on it at or before that step.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from weightslab_common.errors import NotFound

from weightslab_ledger.edits import EditState, Entry, Summary


def branch_order(known: Sequence[str], summaries: Sequence[Summary]) -> list[str]:
    """Branches in the order in which they were trained: `known` first, then those that only the log names."""
    named = (summary.effective_branch for summary in summaries if summary.effective_step is not None)
    return list(dict.fromkeys([*known, *named]))


def revision_at(summaries: Sequence[Summary], branches: Sequence[str], *, branch: str, step: int) -> int:
    """The revision that held while `step` of `branch` was taken; 0 before the first edit.

    `branches`: all, in the order in which they were trained. Raises NotFound when `branch` is none of them.
    """
    if branch not in branches:
        listed = ", ".join(map(repr, branches)) or "none yet"
        raise NotFound(f"there is no branch {branch!r}; there are: {listed}")
    earlier = set(branches[: branches.index(branch)])
    for summary in reversed(summaries):
        if summary.effective_step is None:
            continue
        here = summary.effective_branch == branch and summary.effective_step <= step
        if here or summary.effective_branch in earlier:
            return summary.revision
    return 0


async def state_at(entries: AsyncIterator[Entry], revision: int) -> EditState:
    """The state that the entries of a log, from its first, add up to at `revision`."""
    state = EditState()
    if not revision:
        return state
    async for entry in entries:
        state.apply(entry)
        if state.revision == revision:
            break
    return state
