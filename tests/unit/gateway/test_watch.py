"""The stream of a viewer, over both transports."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from grpclib import GRPCError
from grpclib.const import Status
from weightslab_common.bus import Bus
from weightslab_proto.weightslab.v1 import CurvePosition, WatchRequest, WatchResponse

from tests.support.grpcweb import BINARY, TEXT
from tests.support.studio import TOKEN
from tests.unit.gateway.conftest import Gateway, running_gateway
from tests.unit.gateway.peers import LOSS, LedgerPeer, TrainerPeer, points

WATCH = "/weightslab.v1.ExperimentService/Watch"


class Viewer:
    """Reads a stream the way the page does: keeps the curve, the edits and the state."""

    def __init__(self, stream: AsyncIterator[WatchResponse]) -> None:
        self._stream = stream
        self.replies: list[WatchResponse] = []
        self.steps = b""
        self.values = b""
        self.point_count = 0
        self.revisions: list[int] = []

    def go_on(self, other: Viewer) -> None:
        """Read the stream of another from now on."""
        self._stream = other._stream

    @property
    def held_count(self) -> int:
        return len(self.steps) // 8

    async def read(self) -> WatchResponse:
        reply = await asyncio.wait_for(anext(self._stream), timeout=10)
        self.replies.append(reply)
        for delta in reply.curves:
            assert delta.key == LOSS
            assert delta.first_ordinal <= max(self.held_count, delta.point_count), "points are missing"
            if delta.steps and delta.first_ordinal <= self.held_count:
                known_bytes = (self.held_count - delta.first_ordinal) * 8
                self.steps += delta.steps[known_bytes:]
                self.values += delta.values[known_bytes:]
            self.point_count = delta.point_count
        self.revisions += [edit.revision for edit in reply.edits]
        return reply

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self.read()


@contextlib.asynccontextmanager
async def watching(gateway: Gateway, request: WatchRequest, transport: str = "grpc") -> AsyncIterator[Viewer]:
    if transport == "grpc":
        async with gateway.api() as api:
            stream = api.experiments.watch(request)
            try:
                yield Viewer(stream)
            finally:
                await stream.aclose()  # type: ignore[attr-defined]
    else:
        async with gateway.web(content_type=transport) as web:
            stream = web.stream(WATCH, request, WatchResponse)
            try:
                yield Viewer(stream)
            finally:
                await stream.aclose()  # type: ignore[attr-defined]


@pytest.fixture(params=["grpc", BINARY, TEXT], ids=["grpc", "binary", "text"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_the_first_message_is_the_whole_picture(
    gateway: Gateway, ledger: LedgerPeer, trainer: TrainerPeer, transport: str
) -> None:
    await trainer.say_status(step=5)
    async with watching(gateway, WatchRequest(experiment=ledger.experiment), transport) as viewer:
        first = await viewer.read()
    assert first.experiment is not None
    assert first.experiment.status is not None
    assert first.experiment.status.step == 5
    assert first.experiment.counters.total == 100
    assert first.availability is not None
    assert list(first.availability.missing) == []
    assert (viewer.steps, viewer.values) == points(0, 10)
    assert not first.edits


async def test_new_points_arrive_as_they_are_stored(gateway: Gateway, ledger: LedgerPeer, transport: str) -> None:
    async with watching(gateway, WatchRequest(experiment=ledger.experiment), transport) as viewer:
        await viewer.read()
        for total in (13, 14, 20):
            await ledger.grow(total - ledger.point_count)
            await viewer.until(lambda total=total: viewer.held_count == total)  # type: ignore[misc]
    assert (viewer.steps, viewer.values) == points(0, 20)


async def test_a_status_arrives_at_once(gateway: Gateway, ledger: LedgerPeer, trainer: TrainerPeer) -> None:
    def last_step(viewer: Viewer) -> int:
        status = next((each.experiment.status for each in reversed(viewer.replies) if each.experiment), None)
        return status.step if status else 0

    async with watching(gateway, WatchRequest(experiment=ledger.experiment, max_rate_hz=1)) as viewer:
        await viewer.read()
        for step in range(1, 6):
            await trainer.say_status(step=step)
            async with asyncio.timeout(0.9):
                while last_step(viewer) != step:
                    await viewer.read()


async def test_curves_are_merged_for_a_slow_rate(gateway: Gateway, ledger: LedgerPeer, trainer: TrainerPeer) -> None:
    await trainer.say_status()
    async with watching(gateway, WatchRequest(experiment=ledger.experiment, max_rate_hz=2)) as viewer:
        await viewer.read()
        for _ in range(20):
            await ledger.grow(1)
        await viewer.until(lambda: viewer.held_count == 30)
    carrying = [reply for reply in viewer.replies if reply.curves]
    assert len(carrying) <= 4, "twenty messages of the bus must not be twenty messages to a viewer of 2 Hz"


async def test_edits_arrive_in_order_and_none_is_merged_away(
    gateway: Gateway, ledger: LedgerPeer, transport: str
) -> None:
    async with watching(gateway, WatchRequest(experiment=ledger.experiment, max_rate_hz=1), transport) as viewer:
        await viewer.read()
        for _ in range(50):
            await ledger.edit()
        await viewer.until(lambda: len(viewer.revisions) == 50)
    assert viewer.revisions == list(range(1, 51))


async def test_a_lost_live_message_is_mended_by_its_ordinals(gateway: Gateway, ledger: LedgerPeer) -> None:
    async with watching(gateway, WatchRequest(experiment=ledger.experiment)) as viewer:
        await viewer.read()
        await ledger.grow(5, told=False)
        await ledger.grow(2)
        await viewer.until(lambda: viewer.held_count == 17)
    assert (viewer.steps, viewer.values) == points(0, 17)


async def test_a_doubled_live_message_changes_nothing(gateway: Gateway, ledger: LedgerPeer) -> None:
    async with watching(gateway, WatchRequest(experiment=ledger.experiment)) as viewer:
        await viewer.read()
        await ledger.grow(5)
        await ledger.say_live(from_ordinal=8)
        await ledger.grow(1)
        await viewer.until(lambda: viewer.held_count == 16)
    assert (viewer.steps, viewer.values) == points(0, 16)


async def test_a_lost_edit_is_fetched_when_the_next_live_message_tells_the_revision(
    gateway: Gateway, ledger: LedgerPeer
) -> None:
    async with watching(gateway, WatchRequest(experiment=ledger.experiment)) as viewer:
        await viewer.read()
        await ledger.edit(told=False)
        await ledger.edit(told=False)
        await ledger.say_live()
        await viewer.until(lambda: len(viewer.revisions) == 2)
        await ledger.edit(told=False)
        await ledger.edit()
        await viewer.until(lambda: len(viewer.revisions) == 4)
    assert viewer.revisions == [1, 2, 3, 4]


async def test_a_viewer_that_returns_gets_what_it_missed_and_nothing_twice(
    gateway: Gateway, bus: Bus, experiment: str, transport: str
) -> None:
    ledger = LedgerPeer(bus, experiment, point_count=50_000)
    await ledger.start()
    for _ in range(5):
        await ledger.edit()
    held = CurvePosition(key=LOSS, point_count=49_500)
    request = WatchRequest(experiment=experiment, positions=[held], revision=2)
    async with watching(gateway, request, transport) as viewer:
        first = await viewer.read()
        assert [(delta.first_ordinal, delta.point_count) for delta in first.curves] == [(49_500, 50_000)]
        assert (first.curves[0].steps, first.curves[0].values) == points(49_500, 50_000)
        await viewer.until(lambda: len(viewer.revisions) == 3)
    assert viewer.revisions == [3, 4, 5]


async def test_a_viewer_that_left_before_the_first_edit_is_told_all_when_it_is_back(
    gateway: Gateway, ledger: LedgerPeer, experiment: str
) -> None:
    for _ in range(3):
        await ledger.edit(told=False)
    async with watching(gateway, WatchRequest(experiment=experiment, resumed=True)) as viewer:
        await viewer.until(lambda: len(viewer.revisions) == 3)
    assert viewer.revisions == [1, 2, 3]
    async with watching(gateway, WatchRequest(experiment=experiment)) as newcomer:
        await newcomer.read()
    assert newcomer.revisions == []


async def test_a_viewer_that_returns_after_many_edits_gets_all_of_them(
    gateway: Gateway, bus: Bus, experiment: str
) -> None:
    ledger = LedgerPeer(bus, experiment)
    await ledger.start()
    for _ in range(1700):
        await ledger.edit(told=False)
    async with watching(gateway, WatchRequest(experiment=experiment, revision=100)) as viewer:
        assert (await viewer.read()).experiment is not None
        await viewer.until(lambda: len(viewer.revisions) == 1600)
        await ledger.edit()
        await viewer.until(lambda: len(viewer.revisions) == 1601)
    assert viewer.revisions == list(range(101, 1702))


async def test_a_long_curve_is_announced_and_not_carried(gateway: Gateway, bus: Bus, experiment: str) -> None:
    ledger = LedgerPeer(bus, experiment, point_count=1_000_000)
    await ledger.start()
    async with watching(gateway, WatchRequest(experiment=experiment)) as viewer:
        first = await viewer.read()
    (delta,) = first.curves
    assert (delta.first_ordinal, delta.point_count, delta.steps) == (0, 1_000_000, b"")


async def test_missing_parts_are_named_and_their_return_is_told(gateway: Gateway, bus: Bus, experiment: str) -> None:
    trainer = TrainerPeer(bus, experiment)
    await trainer.say_status(step=1)
    async with watching(gateway, WatchRequest(experiment=experiment)) as viewer:
        first = await viewer.read()
        assert first.availability is not None
        assert list(first.availability.missing) == ["ledger"]
        assert "ledger" in first.availability.message
        ledger = LedgerPeer(bus, experiment, point_count=7)
        await ledger.start()
        await viewer.until(
            lambda: viewer.replies[-1].availability is not None and not viewer.replies[-1].availability.missing
        )
        await viewer.until(lambda: viewer.held_count == 7)


async def test_another_ledger_takes_over_without_a_lost_or_doubled_point(
    gateway: Gateway, bus: Bus, ledger: LedgerPeer
) -> None:
    async with watching(gateway, WatchRequest(experiment=ledger.experiment)) as viewer:
        await viewer.read()
        await ledger.grow(3)
        ledger.ledger_id = "another"
        ledger.point_count = 40
        await ledger.grow(2)
        await viewer.until(lambda: viewer.held_count == 42)
    assert (viewer.steps, viewer.values) == points(0, 42)


@pytest.mark.parametrize("rate", [-1, 11])
async def test_a_rate_out_of_range_is_refused(gateway: Gateway, ledger: LedgerPeer, rate: int) -> None:
    async with watching(gateway, WatchRequest(experiment=ledger.experiment, max_rate_hz=rate)) as viewer:
        with pytest.raises(GRPCError) as caught:
            await viewer.read()
    assert caught.value.status is Status.INVALID_ARGUMENT


async def test_watching_an_unknown_experiment_is_not_found(gateway: Gateway, transport: str) -> None:
    async with watching(gateway, WatchRequest(experiment="nowhere"), transport) as viewer:
        with pytest.raises(GRPCError) as caught:
            await viewer.read()
    assert caught.value.status is Status.NOT_FOUND
    assert "nowhere" in (caught.value.message or "")


def _other_tasks(known: set[asyncio.Task[object]]) -> set[asyncio.Task[object]]:
    return {task for task in asyncio.all_tasks() if task not in known and task is not asyncio.current_task()}


async def test_a_viewer_that_leaves_leaves_nothing_behind(gateway: Gateway, ledger: LedgerPeer, transport: str) -> None:
    # The first request on a connection to the bus starts what stays for all others.
    async with watching(gateway, WatchRequest(experiment=ledger.experiment), transport) as viewer:
        await viewer.read()
    known = asyncio.all_tasks()
    async with watching(gateway, WatchRequest(experiment=ledger.experiment), transport) as viewer:
        await viewer.read()
        assert any("Hub" in str(task.get_coro()) for task in _other_tasks(known))
    left = _other_tasks(known)
    while left:
        _, left = await asyncio.wait(left, timeout=5)
        assert not left, f"still there: {left}"
        left = _other_tasks(known)


async def test_when_nothing_changes_a_message_says_that_the_connection_lives(
    gateway: Gateway, bus: Bus, experiment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weightslab_gateway.watch.HEARTBEAT_SECS", 0.3)
    # Nobody speaks for an experiment that a ledger only holds.
    ledger = LedgerPeer(bus, experiment)
    await ledger.start()
    async with watching(gateway, WatchRequest(experiment=experiment)) as viewer:
        await viewer.read()
        beat = await viewer.read()
        while beat.experiment is not None:
            beat = await viewer.read()
    assert not (beat.curves or beat.edits)
    assert beat.sent_unix_ms


async def test_several_tabs_of_all_kinds_get_everything_at_their_own_pace(gateway: Gateway, ledger: LedgerPeer) -> None:
    async with contextlib.AsyncExitStack() as stack:
        tabs = [
            await stack.enter_async_context(
                watching(gateway, WatchRequest(experiment=ledger.experiment, max_rate_hz=rate), transport)
            )
            for transport in ("grpc", BINARY, TEXT)
            for rate in (1, 10)
        ]
        for tab in tabs:
            await tab.read()
        assert await gateway.metric("wl_gateway_viewers ") == len(tabs)
        reading = [
            asyncio.create_task(tab.until(lambda tab=tab: tab.point_count == 60 and len(tab.revisions) == 10))  # type: ignore[misc]
            for tab in tabs
        ]
        for _ in range(10):
            await ledger.grow(5)
            await ledger.edit()
            await asyncio.sleep(0.05)
        async with asyncio.timeout(60):
            await asyncio.gather(*reading)
    for tab in tabs:
        assert (tab.steps, tab.values) == points(0, 60)
        assert tab.revisions == list(range(1, 11))


async def test_the_end_of_the_gateway_is_told_to_every_viewer(
    nats_url: str, tmp_path: Path, bus: Bus, ledger: LedgerPeer, transport: str
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        async with running_gateway(nats_url, tmp_path) as gateway:
            request = WatchRequest(experiment=ledger.experiment)
            viewer = await stack.enter_async_context(watching(gateway, request, transport))
            await viewer.read()
        with pytest.raises(GRPCError) as caught:
            await viewer.until(lambda: False)
    assert caught.value.status is Status.UNAVAILABLE
    assert "stopping" in (caught.value.message or "")


async def test_a_viewer_that_comes_back_before_any_ledger_answers_is_told_every_edit_it_has_missed(
    gateway: Gateway, trainer: TrainerPeer, bus: Bus, experiment: str
) -> None:
    ledger = LedgerPeer(bus, experiment)
    for _ in range(5):
        await ledger.edit(told=False)
    # So that the gateway knows that there is such an experiment.
    await trainer.say_status()
    request = WatchRequest(experiment=experiment, revision=2, resumed=True)
    async with watching(gateway, request) as viewer:
        await viewer.read()
        assert viewer.revisions == []
        await ledger.start()
        await viewer.until(lambda: len(viewer.revisions) >= 3)
        await ledger.edit()
        await viewer.until(lambda: len(viewer.revisions) >= 4)
    assert viewer.revisions == [3, 4, 5, 6]


@pytest.mark.parametrize("transport", [BINARY, TEXT])
async def test_a_web_stream_ends_in_its_time_and_the_next_loses_and_doubles_nothing(
    nats_url: str, tmp_path: Path, ledger: LedgerPeer, transport: str
) -> None:
    async with running_gateway(nats_url, tmp_path, max_watch_secs=0.4) as gateway:
        viewer = Viewer(aiter(_no_replies()))
        streams = 0
        while streams < 4:
            held = [CurvePosition(key=LOSS, point_count=viewer.held_count)] if viewer.held_count else []
            revision = viewer.revisions[-1] if viewer.revisions else 0
            request = WatchRequest(
                experiment=ledger.experiment, positions=held, revision=revision, resumed=bool(viewer.replies)
            )
            async with watching(gateway, request, transport) as stream:
                viewer.go_on(stream)
                await viewer.read()
                with contextlib.suppress(StopAsyncIteration):
                    while True:
                        await ledger.grow(1)
                        await ledger.edit()
                        await viewer.read()
            streams += 1
            # What happens while nobody watches.
            await ledger.grow(3)
            await ledger.edit()
        held = [CurvePosition(key=LOSS, point_count=viewer.held_count)]
        request = WatchRequest(
            experiment=ledger.experiment, positions=held, revision=viewer.revisions[-1], resumed=True
        )
        async with watching(gateway, request, transport) as stream:
            viewer.go_on(stream)
            await viewer.until(
                lambda: viewer.held_count == ledger.point_count and viewer.revisions[-1] == ledger.revision
            )
        assert await gateway.metric("wl_gateway_viewers ") == 0
    assert (viewer.steps, viewer.values) == points(0, ledger.point_count)
    assert viewer.revisions == list(range(1, ledger.revision + 1))


async def _no_replies() -> AsyncIterator[WatchResponse]:
    return
    yield


async def test_streams_that_began_together_do_not_end_together(
    nats_url: str, tmp_path: Path, ledger: LedgerPeer
) -> None:
    async with running_gateway(nats_url, tmp_path, max_watch_secs=2.0) as gateway:

        async def lasted_secs() -> float:
            began = time.monotonic()
            async with watching(gateway, WatchRequest(experiment=ledger.experiment), BINARY) as viewer:
                with contextlib.suppress(StopAsyncIteration):
                    while True:
                        await viewer.read()
            return time.monotonic() - began

        lasted = await asyncio.gather(*(lasted_secs() for _ in range(20)))
    assert max(lasted) - min(lasted) > 0.1


async def test_a_stream_over_http2_lasts_unless_a_proxy_translates_it(
    nats_url: str, tmp_path: Path, ledger: LedgerPeer
) -> None:
    request = WatchRequest(experiment=ledger.experiment)
    async with running_gateway(nats_url, tmp_path, max_watch_secs=0.5) as gateway, gateway.api() as api:
        lasting = aiter(api.experiments.watch(request))
        await anext(lasting)
        translated = api.experiments.watch(request, metadata={"authorization": f"Bearer {TOKEN}", "x-grpc-web": "1"})
        async for _ in translated:
            pass
        # It began before, and still tells what changes.
        await ledger.grow(5)
        async with asyncio.timeout(60):
            while not any(delta.point_count == ledger.point_count for delta in (await anext(lasting)).curves):
                pass
