"""An experiment that nobody uses leaves memory, and is there again for the first who asks."""

from __future__ import annotations

import asyncio
import time

import pytest
from nats.aio.msg import Msg
from weightslab_common import subjects
from weightslab_common.bus import RUN_STREAM
from weightslab_ledger.dormancy import Activity
from weightslab_proto.weightslab.bus.v1 import (
    ListLedgerExperimentsRequest,
    ListLedgerExperimentsResponse,
    LiveUpdate,
)
from weightslab_proto.weightslab.v1 import (
    EditOperation,
    EditSamplesResponse,
    QuerySamplesRequest,
    QuerySamplesResponse,
    RunStatus,
)

from tests.unit.ledger.conftest import Studio
from tests.unit.ledger.trainers import edit_request, samples

PAGE = QuerySamplesRequest(limit=5)


def _idle_soon(studio: Studio) -> None:
    studio.settings = studio.settings.model_copy(update={"idle_unload_secs": 0.4})


async def _started(studio: Studio) -> None:
    await studio.trainer.register("train", ["0", "1", "2"], registration_id="r")
    await studio.trainer.values("train", "r", [0, 1, 2], {"train/loss": [1, 2, 3]})
    await studio.client.until("query_samples", PAGE, QuerySamplesResponse, lambda page: page.value_version == 3)


async def _asleep(studio: Studio) -> None:
    """Wait until the consumer of the experiment is gone, which only leaving memory does."""
    async with asyncio.timeout(60):
        while True:
            consumers = await studio.bus.js.consumers_info(RUN_STREAM.name or "")
            if not any(consumer.name.startswith(f"ledger-{studio.experiment}-") for consumer in consumers):
                return
            await asyncio.sleep(0.02)


async def test_an_idle_experiment_is_unloaded_told_and_back_for_a_request(studio: Studio) -> None:
    _idle_soon(studio)
    heard: asyncio.Queue[LiveUpdate] = asyncio.Queue()

    async def put(message: Msg) -> None:
        heard.put_nowait(LiveUpdate().parse(message.data))

    async with studio.ledger():
        await _started(studio)
        for _ in range(2):
            await _asleep(studio)
            await studio.bus.client.subscribe(subjects.subject(studio.experiment, subjects.LIVE), cb=put)
            update = await asyncio.wait_for(heard.get(), 30)
            assert (update.counters.total, update.value_version) == (3, 3)
            subject = subjects.ledger(subjects.ALL_EXPERIMENTS, "list")
            listed = await studio.bus.request(
                subject, ListLedgerExperimentsRequest(), ListLedgerExperimentsResponse, timeout_secs=30, part="ledger"
            )
            assert {entry.experiment: entry.counters.total for entry in listed.experiments}[studio.experiment] == 3
            pages = await asyncio.gather(
                *(studio.client.ask("query_samples", PAGE, QuerySamplesResponse) for _ in range(5))
            )
            assert [page.uids for page in pages] == [["0", "1", "2"]] * 5


async def test_an_edit_wakes_an_experiment_and_is_made_once(studio: Studio) -> None:
    _idle_soon(studio)
    async with studio.ledger():
        await _started(studio)
        await _asleep(studio)
        request = edit_request(EditOperation.DISCARD, samples("train", "1"))
        edit = (await studio.client.ask("edit_samples", request, EditSamplesResponse)).edit
        assert (edit.revision, edit.counters.active) == (1, 2)
        page = await studio.client.ask("query_samples", PAGE, QuerySamplesResponse)
        assert page.revision == 1


async def test_a_trainer_that_speaks_wakes_its_experiment_which_takes_in_what_came(studio: Studio) -> None:
    _idle_soon(studio)
    async with studio.ledger():
        await _started(studio)
        await _asleep(studio)
        await studio.trainer.values("train", "r", [0], {"train/loss": [9]})
        status = RunStatus(experiment=studio.experiment, run_id="r")
        await studio.bus.publish(subjects.subject(studio.experiment, subjects.STATUS), status)
        page = await studio.client.until(
            "query_samples", PAGE, QuerySamplesResponse, lambda page: page.value_version == 4
        )
        assert page.total == 3


async def test_a_use_puts_idleness_off() -> None:
    activity = Activity()
    waiting = asyncio.ensure_future(activity.idle(0.2))
    await asyncio.sleep(0)
    # The loop stands still, so that however long this takes the use comes before idleness is looked at.
    time.sleep(0.15)  # noqa: ASYNC251
    activity.touch()
    used = time.monotonic()
    await waiting
    assert time.monotonic() - used >= 0.2


async def test_a_handler_that_is_called_is_a_use() -> None:
    activity = Activity()

    async def double(number: int) -> int:
        return 2 * number

    assert await activity.noting(double)(4) == 8
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(activity.idle(5), 0.05)
