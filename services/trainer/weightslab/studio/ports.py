"""Whether the ports of the studio are free, told before anything is started."""

from __future__ import annotations

from collections.abc import Iterable

from weightslab_common.embedded import free_port, is_free
from weightslab_common.errors import FailedPrecondition

from weightslab.studio.settings import PortUse


def check(uses: Iterable[PortUse]) -> None:
    """Raise FailedPrecondition with one sentence for each port that is busy or was given twice."""
    faults: list[str] = []
    taken: dict[int, PortUse] = {}
    for use in uses:
        choose = f"choose another with {use.flag} or {use.variable}"
        if use.port in taken:
            faults.append(f"port {use.port} is meant for {taken[use.port].purpose} and for {use.purpose}: {choose}")
        elif not is_free(use.port):
            faults.append(f"port {use.port} for {use.purpose} is busy: end what listens there, or {choose}")
        taken.setdefault(use.port, use)
    if faults:
        raise FailedPrecondition("\n".join(faults))


def same_or_free(previous: int | None, *, taken: set[int]) -> int:
    """The port used last time when it is still free, so that clients find a restarted studio; else a free one."""
    if previous and previous not in taken and is_free(previous):
        return previous
    while (port := free_port()) in taken:
        continue
    return port
