"""What the ledger does when the stream or its consumer is taken away while it reads."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from nats.js.errors import Error as JetStreamError
from weightslab_common.bus import RUN_STREAM
from weightslab_common.columns import F64, I64, unpack
from weightslab_proto.weightslab.v1 import (
    GetCurvesRequest,
    GetCurvesResponse,
    ListSignalsRequest,
    ListSignalsResponse,
    QuerySamplesRequest,
    QuerySamplesResponse,
)

from tests.unit.ledger.conftest import Studio

STREAM = RUN_STREAM.name or ""
PAGE = QuerySamplesRequest(limit=3, columns=["train/loss", "train/loss.count"])


async def _point(studio: Studio, step: int) -> None:
    """Publish a point, again until a stream takes it, as a trainer's outbox does."""
    async with asyncio.timeout(60):
        while True:
            try:
                await studio.trainer.points("train/loss", [step], [step / 2])
            except (JetStreamError, TimeoutError):
                await asyncio.sleep(0.05)
            else:
                return


async def _until_points(studio: Studio, count: int) -> None:
    await studio.client.until(
        "list_signals",
        ListSignalsRequest(),
        ListSignalsResponse,
        lambda answer: bool(answer.curves) and answer.curves[0].point_count == count,
    )


async def _begin(studio: Studio) -> None:
    await studio.trainer.register("train", ["0", "1", "2"], registration_id="r")
    await studio.trainer.values("train", "r", [0, 1, 2], {"train/loss": [1, 2, 3]})
    await _point(studio, 1)
    await _until_points(studio, 1)
    await studio.client.until("query_samples", PAGE, QuerySamplesResponse, lambda page: page.value_version == 3)


async def _check(studio: Studio) -> None:
    """Nothing is lost and nothing is there twice."""
    curves = (await studio.client.ask("get_curves", GetCurvesRequest(), GetCurvesResponse)).curves
    assert unpack(curves[0].steps, I64).tolist() == [1, 2]
    page = await studio.client.ask("query_samples", PAGE, QuerySamplesResponse)
    assert [unpack(column.numbers, F64).tolist() for column in page.columns] == [[1, 2, 3], [1, 1, 1]]


async def test_a_stream_that_is_deleted_is_made_anew_and_read_on(studio: Studio) -> None:
    async with studio.ledger():
        await _begin(studio)
        await studio.bus.js.delete_stream(STREAM)
        await _point(studio, 2)
        await _until_points(studio, 2)
        await _check(studio)
        info = await studio.bus.js.stream_info(STREAM)
        kept = (info.config.max_bytes, info.config.max_age, info.config.storage)
        assert kept == (RUN_STREAM.max_bytes, RUN_STREAM.max_age, RUN_STREAM.storage)


async def test_a_consumer_that_is_deleted_is_made_anew_and_reads_nothing_twice(studio: Studio) -> None:
    async with studio.ledger():
        await _begin(studio)
        for consumer in await studio.bus.js.consumers_info(STREAM):
            if consumer.name.startswith(f"ledger-{studio.experiment}-"):
                await studio.bus.js.delete_consumer(STREAM, consumer.name)
        await _point(studio, 2)
        await _until_points(studio, 2)
        await _check(studio)


async def test_a_long_backlog_is_read_without_losing_the_bus(studio: Studio, caplog: pytest.LogCaptureFixture) -> None:
    """More than NATS has on its way to one client before it hangs up."""
    message_count, sample_count = 170, 25_000
    await studio.trainer.register("train", [str(uid) for uid in range(sample_count)], registration_id="r")
    every = np.arange(sample_count)
    for step in range(message_count):
        await studio.trainer.values("train", "r", every, {"train/loss": every + step}, step=step)
    async with studio.ledger():
        wanted = message_count * sample_count
        await studio.client.until(
            "query_samples",
            QuerySamplesRequest(limit=1),
            QuerySamplesResponse,
            lambda page: page.value_version == wanted,
        )
        page = await studio.client.ask("query_samples", PAGE, QuerySamplesResponse)
    assert [unpack(column.numbers, F64).tolist() for column in page.columns] == [[169, 170, 171], [170] * 3]
    assert "connection lost" not in caplog.text
