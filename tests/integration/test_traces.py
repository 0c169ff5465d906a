"""One trace from the caller to whoever does the work, over real processes and the bus."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from weightslab_proto.weightslab.v1 import PauseRequest, QuerySamplesRequest

from tests.support.collector import Collector, collecting
from tests.support.processes import wait_until
from tests.support.studio import EXPERIMENT, TOKEN, Studio

CALLER = "b7ad6b7169203331"


@pytest.fixture
def traced(tmp_path: Path) -> Iterator[tuple[Studio, Collector]]:
    with collecting() as collector:
        studio = Studio(tmp_path)
        try:
            for name in ("nats", "store", "ledger", "gateway", "trainer"):
                studio.processes[name].change_environment({"WL_TRACES_URL": collector.url})
                studio.start_one(name)
            wait_until(studio.ready, what="the studio is ready")
            yield studio, collector
        finally:
            studio.stop()


def _assert_one_trace(collector: Collector, trace_id: str, *services: str) -> None:
    """Spans of these services arrive, and each continues one of the others, or the caller."""

    def arrived() -> bool:
        spans = collector.spans(trace_id)
        known = {span.id for span in spans} | {CALLER}
        return {span.service for span in spans} >= set(services) and {span.parent for span in spans} <= known

    # Each service sends its own every few seconds.
    wait_until(arrived, what=f"a whole trace of {', '.join(services)} arrives")
    assert [span.service for span in collector.spans(trace_id) if span.parent == CALLER] == [services[0]]


async def test_a_trace_leads_over_the_bus_into_ledger_trainer_and_media_worker(
    traced: tuple[Studio, Collector],
) -> None:
    studio, collector = traced
    query, command, image = (secrets.token_hex(16) for _ in range(3))

    def headers(trace_id: str) -> dict[str, str]:
        return {"authorization": f"Bearer {TOKEN}", "traceparent": f"00-{trace_id}-{CALLER}-01"}

    async with studio.api() as api:
        samples = QuerySamplesRequest(experiment=EXPERIMENT, filter='split == "train"', limit=1)
        async with asyncio.timeout(60):
            # Until the run has registered its samples.
            while not (uids := (await api.samples.query_samples(samples)).uids):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        await api.samples.query_samples(samples, metadata=headers(query))
        await api.experiments.pause(PauseRequest(experiment=EXPERIMENT), metadata=headers(command))
    url = f"http://127.0.0.1:{studio.web_port}/media/{EXPERIMENT}/train/{uids[0]}"
    async with httpx.AsyncClient(timeout=60) as http:
        assert (await http.get(url, headers=headers(image))).status_code == 200
    for trace_id, service in ((query, "ledger"), (command, "trainer"), (image, "media")):
        await asyncio.to_thread(_assert_one_trace, collector, trace_id, "weightslab-gateway", f"weightslab-{service}")
