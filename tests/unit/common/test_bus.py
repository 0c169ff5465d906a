"""The bus against a real NATS server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from weightslab_common import subjects
from weightslab_common.bus import RUN_STREAM, Bus
from weightslab_common.embedded import free_port, nats_command
from weightslab_common.errors import InvalidArgument, NotFound, Unavailable
from weightslab_common.service import end
from weightslab_proto.weightslab.bus.v1 import LedgerHealthRequest, LedgerHealthResponse
from weightslab_proto.weightslab.v1 import RunStatus

from tests.support.processes import Process
from tests.support.proxy import FaultyProxy


@pytest.fixture
async def bus(nats_url: str) -> AsyncIterator[Bus]:
    bus = await Bus.connect(nats_url, name="test")
    await bus.ensure_streams()
    yield bus
    await bus.close()


async def _ask(bus: Bus, subject: str) -> LedgerHealthResponse:
    return await bus.request(subject, LedgerHealthRequest(), LedgerHealthResponse, timeout_secs=30, part="ledger")


async def test_a_reply_comes_back(bus: Bus) -> None:
    async def answer(request: LedgerHealthRequest) -> LedgerHealthResponse:
        return LedgerHealthResponse(version="7")

    await bus.serve(subjects.ledger("reply", "health"), LedgerHealthRequest, answer)
    assert (await _ask(bus, subjects.ledger("reply", "health"))).version == "7"


async def test_an_error_of_the_peer_is_raised_here_with_its_text(bus: Bus) -> None:
    async def refuse(request: LedgerHealthRequest) -> LedgerHealthResponse:
        raise InvalidArgument("uid '日本' does not exist")

    await bus.serve(subjects.ledger("error", "health"), LedgerHealthRequest, refuse)
    with pytest.raises(InvalidArgument, match="uid '日本' does not exist"):
        await _ask(bus, subjects.ledger("error", "health"))


async def test_nobody_listening_is_unavailable_and_names_the_part(bus: Bus) -> None:
    with pytest.raises(Unavailable, match="the ledger does not answer"):
        await _ask(bus, subjects.ledger("nobody", "health"))


async def test_no_server_is_unavailable_when_not_told_to_wait() -> None:
    with pytest.raises(Unavailable, match="no message bus"):
        await Bus.connect(f"nats://127.0.0.1:{free_port()}", name="test", wait_for_server=False)


async def test_connecting_to_a_cluster_moves_no_stream_of_random_numbers(nats_url: str) -> None:
    servers = ",".join([nats_url, nats_url.replace("127.0.0.1", "localhost")] * 3)
    before = random.getstate()
    bus = await Bus.connect(servers, name="test")
    assert random.getstate() == before
    await bus.close()


async def test_a_message_id_is_stored_once(bus: Bus) -> None:
    subject = subjects.subject("once", subjects.SIGNALS)
    first = await bus.store(subject, b"x", message_id="once-1")
    assert await bus.store(subject, b"x", message_id="once-1") == first


async def test_only_the_last_status_is_kept(bus: Bus) -> None:
    assert await bus.last_status("status-kept") is None
    for step in (1, 2):
        status = RunStatus(experiment="status-kept", step=step)
        await bus.store(subjects.subject("status-kept", subjects.STATUS), bytes(status), message_id=f"s{step}")
    stored = await bus.last_status("status-kept")
    assert stored is not None
    assert RunStatus().parse(stored).step == 2


def test_a_not_found_keeps_its_class() -> None:
    from weightslab_common.errors import error_for

    assert isinstance(error_for(NotFound.status.value, "x"), NotFound)


async def test_a_cancellation_that_comes_together_with_the_answer_is_kept(bus: Bus) -> None:
    """Before Python 3.12 the library returns the answer then, and what asks for ever would not end."""
    asked, may_answer = asyncio.Event(), asyncio.Event()

    async def answer(request: LedgerHealthRequest) -> LedgerHealthResponse:
        asked.set()
        await may_answer.wait()
        return LedgerHealthResponse(version="7")

    await bus.serve(subjects.ledger("cancelled", "health"), LedgerHealthRequest, answer)
    asking = asyncio.create_task(_ask(bus, subjects.ledger("cancelled", "health")))
    await asked.wait()
    (waiting,) = bus.client._resp_map.values()
    waiting.add_done_callback(lambda _: asking.cancel())
    may_answer.set()
    await asyncio.wait([asking], timeout=30)
    assert waiting.result().data, "the answer came"
    assert asking.cancelled()


async def test_it_closes_over_a_server_that_reads_nothing_any_more(tmp_path: Path) -> None:
    port = free_port()
    server = Process(nats_command(tmp_path / "nats", port=port), log=tmp_path / "log")
    server.start()
    bus = await Bus.connect(f"nats://127.0.0.1:{port}", name="test")
    os.kill(server.pid, signal.SIGSTOP)
    # More than the kernel takes, and more flushes than the library has room for: further ones wait for ever.
    publishing = [asyncio.create_task(bus.client.publish("nobody", bytes(16 * 1024))) for _ in range(1500)]
    try:
        await asyncio.wait(publishing, timeout=1)
        assert any(not task.done() for task in publishing), "nothing is stuck"
        closing = asyncio.create_task(bus.close())
        assert (await asyncio.wait([closing], timeout=60))[0], "the bus does not close"
        closing.result()
    finally:
        await end(publishing)
        server.kill()


async def test_an_orderly_end_is_not_told_as_a_lost_connection(nats_url: str, caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []
    bus = await Bus.connect(nats_url, name="test", on_disconnect=lambda: told.append("lost"))
    await bus.close()
    assert told == []
    assert "connection lost" not in caplog.text


async def test_it_closes_over_messages_that_nobody_takes_and_leaves_no_task_behind(nats_url: str) -> None:
    before = asyncio.all_tasks()
    bus = await Bus.connect(nats_url, name="test")
    untaken = await bus.client.subscribe("untaken")
    await bus.client.publish("untaken", b"x")
    for _ in range(3000):
        if untaken.pending_msgs:
            break
        # A flush may come back before what was published.
        await asyncio.sleep(0.01)
    await asyncio.wait_for(bus.close(), 30)
    left = asyncio.all_tasks() - before
    if left:
        await asyncio.wait(left, timeout=30)
    assert [task for task in left if not task.done()] == []
    assert bus.client.is_closed


async def test_a_request_in_progress_is_answered_before_it_closes(bus: Bus, nats_url: str) -> None:
    peer = await Bus.connect(nats_url, name="test")
    asked = asyncio.Event()

    async def answer(request: LedgerHealthRequest) -> LedgerHealthResponse:
        asked.set()
        await asyncio.sleep(0.2)
        return LedgerHealthResponse(version="8")

    await peer.serve(subjects.ledger("late", "health"), LedgerHealthRequest, answer)
    for _ in range(3000):
        # Until the server knows of the subscription.
        with contextlib.suppress(Unavailable):
            await _ask(bus, subjects.ledger("late", "health"))
            break
        await asyncio.sleep(0.01)
    asked.clear()
    reply = asyncio.create_task(_ask(bus, subjects.ledger("late", "health")))
    await asked.wait()
    await peer.close()
    assert (await reply).version == "8"


async def test_streams_that_are_there_need_no_room_for_a_second_one(tmp_path: Path) -> None:
    """A server whose disk holds the streams once, but not twice, takes every later start of a service."""
    port = free_port()
    command = nats_command(tmp_path / "nats", port=port)
    configuration = Path(command[-1])
    configuration.write_text(configuration.read_text().replace("sync_interval", "max_file_store: 9GB, sync_interval"))  # noqa: ASYNC240
    server = Process(command, log=tmp_path / "log")
    server.start()
    bus = await Bus.connect(f"nats://127.0.0.1:{port}", name="test")
    try:
        for _ in range(2):
            await bus.ensure_streams()
        stream = RUN_STREAM.name or ""
        await bus.js.update_stream(replace(RUN_STREAM, max_bytes=1024**3))
        await bus.ensure_streams()
        assert (await bus.js.stream_info(stream)).config.max_bytes == RUN_STREAM.max_bytes
    finally:
        await bus.close()
        server.kill()


async def test_a_request_under_way_fails_at_once_when_the_connection_is_lost(nats_url: str) -> None:
    proxy = FaultyProxy(int(nats_url.rpartition(":")[2]), free_port())
    proxy.start()
    bus, peer = await Bus.connect(f"nats://127.0.0.1:{proxy.port}", name="asks"), await Bus.connect(nats_url, name="b")
    asked = asyncio.Event()

    async def never(request: LedgerHealthRequest) -> LedgerHealthResponse:
        asked.set()
        await asyncio.sleep(3600)
        return LedgerHealthResponse()

    await peer.serve(subjects.ledger("lost", "health"), LedgerHealthRequest, never)
    await peer.client.flush()
    asking = asyncio.create_task(_ask(bus, subjects.ledger("lost", "health")))
    await asked.wait()
    assert await asyncio.to_thread(proxy.reset) == 1
    with pytest.raises(Unavailable, match="the message bus was lost before the ledger could answer"):
        await asking
    await bus.close()
    await peer.client.close()
    proxy.stop()
