"""An experiment as the console acts on it: the same requests to ledger and trainer as a viewer's."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Sequence

import betterproto
import nats.errors
import nats.js.errors
from weightslab_common import subjects
from weightslab_common.bus import STATUS_STREAM, Bus, MessageT
from weightslab_common.errors import InvalidArgument, NotFound, Unavailable, Unimplemented
from weightslab_common.messages import parsed
from weightslab_common.names import experiment_slug
from weightslab_proto.weightslab.bus.v1 import LedgerExperiment, ListLedgerExperimentsResponse
from weightslab_proto.weightslab.v1 import (
    Edit,
    EditOperation,
    EditSamplesRequest,
    EditSamplesResponse,
    GetSampleRequest,
    GetSampleResponse,
    ListColumnsRequest,
    ListColumnsResponse,
    RunStatus,
    SampleList,
    SampleRef,
    Target,
)

# The trainer answers a pause when the loop stands at its gate, which may take a long step.
TRAINER_SECS = 60.0
LEDGER_SECS = 15.0
# A trainer says something every second; one that is silent for longer has gone.
TRAINER_SILENCE_SECS = 5.0
AUTHOR = "console"
_LOOKUPS_AT_ONCE = 16
# Ledgers answer each on its own; how many there are is not known.
_LEDGERS_SECS = 5.0
_NO_RESPONDERS = "503"


async def known_experiments(bus: Bus) -> list[str]:
    """Every experiment whose trainer has ever spoken on this bus, sorted."""
    try:
        info = await bus.js.stream_info(
            STATUS_STREAM.name or "", subjects_filter=subjects.subject("*", subjects.STATUS)
        )
    except nats.js.errors.NotFoundError:
        # Neither a ledger nor a trainer was ever here.
        return []
    except (nats.errors.Error, TimeoutError) as error:
        raise _unreadable(error) from error
    return sorted(subjects.experiment_of(name) for name in info.state.subjects or {})


async def ledger_entry(bus: Bus, experiment: str) -> LedgerExperiment | None:
    """What the ledger that owns `experiment` says of it; None when no ledger does. Every ledger answers for its own."""
    inbox = bus.client.new_inbox()
    subscription = await bus.client.subscribe(inbox)
    try:
        await bus.client.publish(subjects.ledger(subjects.ALL_EXPERIMENTS, "list"), b"", reply=inbox)
        async with asyncio.timeout(_LEDGERS_SECS):
            while True:
                message = await subscription.next_msg(_LEDGERS_SECS)
                if (message.headers or {}).get("Status") == _NO_RESPONDERS:
                    return None
                reply = parsed(ListLedgerExperimentsResponse, message.data)
                for entry in reply.experiments:
                    if entry.experiment == experiment:
                        return entry
    except (TimeoutError, nats.errors.Error):
        return None
    finally:
        await subscription.unsubscribe()


class Experiment:
    """One experiment on a bus. Methods raise the WeightsLabError of whoever answers."""

    def __init__(self, name: str, bus: Bus) -> None:
        self.name = experiment_slug(name)
        self._bus = bus

    async def ledger(self, method: str, request: betterproto.Message, reply_type: type[MessageT]) -> MessageT:
        subject = subjects.ledger(self.name, method)
        return await self._bus.request(subject, request, reply_type, timeout_secs=LEDGER_SECS, part="ledger")

    async def trainer(self, verb: str, request: betterproto.Message, reply_type: type[MessageT]) -> MessageT:
        """Send a command; a trainer that is there and does not know it is Unimplemented, not Unavailable."""
        subject = subjects.command(self.name, verb)
        try:
            return await self._bus.request(subject, request, reply_type, timeout_secs=TRAINER_SECS, part="trainer")
        except Unavailable:
            status = await self.last_status()
            if status is None or not is_fresh(status):
                raise
            raise Unimplemented(
                f"the trainer of {self.name} (version {status.version or 'unknown'}) does not answer `{verb}`"
            ) from None

    async def last_status(self) -> RunStatus | None:
        """What the trainer last said of itself, however long ago."""
        try:
            stored = await self._bus.last_status(self.name)
        except (nats.errors.Error, TimeoutError) as error:
            raise _unreadable(error) from error
        return parsed(RunStatus, stored) if stored else None

    async def status(self) -> RunStatus:
        """The last status; raises Unavailable when no trainer has ever spoken."""
        status = await self.last_status()
        if status is None:
            raise Unavailable(f"no trainer of experiment {self.name} has been seen on this bus: is the run started?")
        return status

    async def entry(self) -> LedgerExperiment:
        """Revision and counters of the experiment. Raises Unavailable when no ledger holds it."""
        found = await ledger_entry(self._bus, self.name)
        if found is None:
            raise Unavailable(f"no ledger answers for experiment {self.name}: is the ledger running?")
        return found

    async def splits(self) -> list[str]:
        """The splits that the ledger knows, sorted."""
        columns = await self.ledger("list_columns", ListColumnsRequest(experiment=self.name), ListColumnsResponse)
        return sorted(split.split for split in columns.splits)

    async def split_of(self, loader: str) -> str:
        """The split that a loader reads; the name of a split stands for itself. Raises NotFound."""
        status = await self.last_status()
        loaders = {known.name: known.split for known in status.loaders} if status else {}
        if loader in loaders:
            return loaders[loader]
        splits = await self.splits()
        if loader in splits:
            return loader
        names = ", ".join(repr(name) for name in sorted({*loaders, *splits})) or "none"
        raise NotFound(f"there is no loader or split {loader!r}; there are: {names}")

    async def samples(self, uids: Sequence[str], *, loader: str | None) -> list[SampleRef]:
        """The samples that uids name, in `loader` or else in the one split that has each of them.

        Raises NotFound for uids of no split and InvalidArgument for uids of several, naming them.
        """
        if loader is not None:
            split = await self.split_of(loader)
            return [SampleRef(split=split, uid=uid) for uid in uids]
        splits = await self.splits()
        if len(splits) == 1:
            return [SampleRef(split=splits[0], uid=uid) for uid in uids]
        gate = asyncio.Semaphore(_LOOKUPS_AT_ONCE)

        async def homes(uid: str) -> list[str]:
            async with gate:
                return [split for split in splits if await self._has(split, uid)]

        found = await asyncio.gather(*(homes(uid) for uid in uids))
        _refuse_unclear(dict(zip(uids, found, strict=True)))
        return [SampleRef(split=home[0], uid=uid) for uid, home in zip(uids, found, strict=True)]

    async def _has(self, split: str, uid: str) -> bool:
        request = GetSampleRequest(experiment=self.name, sample=SampleRef(split=split, uid=uid))
        try:
            await self.ledger("get_sample", request, GetSampleResponse)
        except NotFound:
            return False
        return True

    async def edit(self, operation: EditOperation, samples: list[SampleRef], *, tag: str = "") -> Edit:
        """Make one edit; it is on disk when this returns."""
        request = EditSamplesRequest(
            experiment=self.name,
            edit_id=uuid.uuid4().hex,
            operation=operation,
            tag=tag,
            target=Target(samples=SampleList(samples=samples)),
            author=AUTHOR,
        )
        return (await self.ledger("edit_samples", request, EditSamplesResponse)).edit


def is_fresh(status: RunStatus) -> bool:
    """Whether the trainer that said this is still there."""
    return time.time() - status.sent_unix_ms / 1000 < TRAINER_SILENCE_SECS


def _unreadable(error: Exception) -> Unavailable:
    return Unavailable(f"the bus cannot read what it stored: {error or 'no answer in time'}; is JetStream enabled?")


def _refuse_unclear(homes: dict[str, list[str]]) -> None:
    missing = [uid for uid, splits in homes.items() if not splits]
    if missing:
        raise NotFound(f"no split has a sample with uid {_listed(missing)}; nothing was changed")
    several = [uid for uid, splits in homes.items() if len(splits) > 1]
    if several:
        where = " and ".join(repr(split) for split in homes[several[0]])
        raise InvalidArgument(
            f"uid {_listed(several)} names a sample in {where}: say which with --loader; nothing was changed"
        )


def _listed(uids: list[str], *, shown: int = 10) -> str:
    text = ", ".join(repr(uid) for uid in uids[:shown])
    return text if len(uids) <= shown else f"{text} and {len(uids) - shown} more"
