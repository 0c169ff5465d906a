"""What is new for a viewer, without a bus."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from weightslab_common.columns import I64, unpack
from weightslab_common.errors import InvalidArgument
from weightslab_gateway.curve_tail import CurveTail, Gap
from weightslab_gateway.feed import KEPT_EDITS, KEPT_POINTS, Feed, Missing, Position, key_of
from weightslab_proto.weightslab.bus.v1 import LedgerExperiment, LiveUpdate
from weightslab_proto.weightslab.v1 import Availability, Counters, CurveDelta, CurvePosition, Edit, RunStatus

from tests.unit.gateway.peers import LOSS, points

KEY = key_of(LOSS)


def _live(first: int, end: int, *, point_count: int | None = None) -> LiveUpdate:
    steps, values = points(first, end)
    delta = CurveDelta(key=LOSS, first_ordinal=first, steps=steps, values=values, point_count=point_count or end)
    return LiveUpdate(curves=[delta])


def _loaded(*, point_count: int = 0, revision: int = 0) -> Feed:
    feed = Feed("x")
    feed.load(LedgerExperiment(experiment="x", revision=revision, counters=Counters(total=9)), {KEY: point_count})
    return feed


def _ordinals(tail: CurveTail) -> list[int]:
    return list(unpack(tail.since(tail.first)[0], I64))


class TestCurveTail:
    @given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 30)), max_size=30))
    def test_it_is_always_a_gapless_end_of_the_curve(self, pieces: list[tuple[int, int]]) -> None:
        tail = CurveTail(end=5, kept_points=10)
        for first, count in pieces:
            end = tail.end
            gap = tail.append(first, *points(first, first + count))
            assert gap == (Gap(end, first) if first > end and count else gap)
            if gap is not None:
                assert tail.end == end, "nothing is added behind a gap"
            assert _ordinals(tail) == list(range(tail.first, tail.end))
            assert tail.end - tail.first <= 20

    def test_points_before_it_are_taken_when_they_fit(self) -> None:
        tail = CurveTail(end=10, kept_points=100)
        tail.prepend(5, *points(5, 9))
        assert _ordinals(tail) == []
        tail.prepend(5, *points(5, 10))
        assert _ordinals(tail) == [5, 6, 7, 8, 9]

    @pytest.mark.parametrize(("steps", "values"), [(b"x", b"x"), (bytes(8), bytes(16)), (bytes(8), b"")])
    def test_columns_that_do_not_fit_are_refused(self, steps: bytes, values: bytes) -> None:
        with pytest.raises(InvalidArgument, match="bytes of steps"):
            CurveTail(end=0, kept_points=10).append(0, steps, values)


class TestCurves:
    def test_viewers_that_were_told_everything_share_one_position(self) -> None:
        feed = _loaded()
        assert feed.position() is feed.position()
        before = feed.position()
        feed.apply_live(_live(0, 3))
        assert feed.position() is not before

    @given(st.lists(st.integers(1, 40), max_size=15), st.data())
    def test_every_viewer_gets_every_point_once_however_often_it_looks(
        self, growth: list[int], data: st.DataObject
    ) -> None:
        feed = _loaded()
        viewers: list[tuple[Position, list[int]]] = [(feed.position(), []) for _ in range(3)]
        total = 0
        for count in growth:
            feed.apply_live(_live(total, total + count))
            total += count
            for index in data.draw(st.sets(st.integers(0, 2))):
                position, held = viewers[index]
                for delta in feed.since(position).curves:
                    assert delta.first_ordinal == len(held)
                    held.extend(unpack(delta.steps, I64))
                viewers[index] = (feed.position(), held)
        for position, held in viewers:
            for delta in feed.since(position).curves:
                held.extend(unpack(delta.steps, I64))
            assert held == list(range(total))

    def test_a_viewer_far_behind_is_told_the_count_and_gets_no_points(self) -> None:
        feed = _loaded()
        before = feed.position()
        for first in range(0, 5 * KEPT_POINTS, 500):
            feed.apply_live(_live(first, first + 500))
        (delta,) = feed.since(before).curves
        assert (delta.first_ordinal, delta.point_count, delta.steps) == (0, 5 * KEPT_POINTS, b"")

    def test_a_gap_is_named_and_closed(self) -> None:
        feed = _loaded(point_count=10)
        assert feed.apply_live(_live(15, 20)) == [Missing(KEY, Gap(10, 20))]
        feed.fill(KEY, 10, *points(10, 20))
        assert feed.tail(KEY).end == 20  # type: ignore[union-attr]

    def test_points_that_a_message_left_out_are_a_gap(self) -> None:
        feed = _loaded()
        assert feed.apply_live(_live(0, 5, point_count=9)) == [Missing(KEY, Gap(5, 9))]

    def test_a_gap_that_is_left_open_moves_the_viewers_on(self) -> None:
        feed = _loaded(point_count=10)
        before = feed.position()
        feed.skip(Missing(KEY, Gap(10, 90_000)))
        (delta,) = feed.since(before).curves
        assert (delta.first_ordinal, delta.point_count, delta.steps) == (10, 90_000, b"")

    def test_a_viewer_that_returns_gets_what_is_kept(self) -> None:
        feed = _loaded()
        feed.apply_live(_live(0, 50))
        position = feed.resume([CurvePosition(key=LOSS, point_count=48)], 0)
        (delta,) = feed.since(position).curves
        assert list(unpack(delta.steps, I64)) == [48, 49]

    def test_a_viewer_with_more_points_than_there_are_is_told_how_many_there_are(self) -> None:
        feed = _loaded(point_count=5)
        (delta,) = feed.since(feed.resume([CurvePosition(key=LOSS, point_count=9)], 0)).curves
        assert (delta.first_ordinal, delta.point_count) == (5, 5)

    def test_one_message_has_a_bounded_number_of_points(self) -> None:
        feed = _loaded()
        before = feed.position()
        update = LiveUpdate()
        steps, values = points(0, 1500)
        for number in range(100):
            key = type(LOSS)(branch="main", signal=f"s{number:03}", mode=LOSS.mode)
            update.curves.append(CurveDelta(key=key, steps=steps, values=values, point_count=1500))
        feed.apply_live(update)
        reply = feed.since(before)
        assert len(reply.curves) == 101 - 1
        carried = sum(len(delta.steps) // 8 for delta in reply.curves)
        assert 90_000 < carried <= 100_000
        assert all(delta.point_count == 1500 for delta in reply.curves)


class TestEdits:
    def test_they_come_in_order_and_once(self) -> None:
        feed = _loaded(revision=7)
        before = feed.position()
        assert feed.apply_edit(Edit(revision=8))
        assert feed.apply_edit(Edit(revision=8))
        assert not feed.apply_edit(Edit(revision=10)), "9 is missing"
        assert feed.apply_edit(Edit(revision=9))
        assert feed.apply_edit(Edit(revision=10))
        assert [edit.revision for edit in feed.since(before).edits] == [8, 9, 10]
        assert feed.since(feed.position()).edits == []

    def test_only_the_newest_are_kept_and_the_floor_tells(self) -> None:
        feed = _loaded()
        for revision in range(1, KEPT_EDITS + 11):
            feed.apply_edit(Edit(revision=revision))
        assert feed.edits_floor == 10

    def test_a_new_viewer_gets_none(self) -> None:
        feed = _loaded(revision=3)
        feed.apply_edit(Edit(revision=4))
        assert feed.since(feed.resume([], 0)).edits == []
        assert [edit.revision for edit in feed.since(feed.resume([], 3)).edits] == [4]


class TestState:
    def test_curves_are_no_urgent_news_and_state_is(self) -> None:
        feed = _loaded()
        position = feed.position()
        feed.apply_live(_live(0, 1))
        assert feed.has_news(position)
        assert not feed.is_urgent(position)
        feed.set_availability(Availability(missing=["trainer"]))
        assert feed.is_urgent(position)

    def test_state_is_sent_only_when_it_has_changed(self) -> None:
        feed = _loaded()
        position = feed.position()
        feed.apply_live(_live(0, 1))
        reply = feed.since(position)
        assert reply.experiment is None
        assert reply.availability is None
        feed.set_run(RunStatus(step=3), trainer_connected=True, ledger_connected=True)
        experiment = feed.since(position).experiment
        assert experiment is not None
        assert experiment.status is not None
        assert (experiment.status.step, experiment.counters.total) == (3, 9)

    def test_the_same_again_is_no_news(self) -> None:
        feed = _loaded()
        feed.set_run(RunStatus(step=3), trainer_connected=True, ledger_connected=True)
        feed.set_availability(Availability())
        position = feed.position()
        feed.set_run(RunStatus(step=3), trainer_connected=True, ledger_connected=True)
        feed.set_availability(Availability())
        assert not feed.has_news(position)


def test_loading_anew_names_what_was_missed_and_forgets_what_is_gone() -> None:
    feed = _loaded()
    feed.apply_live(_live(0, 10))
    entry = LedgerExperiment(experiment="x", revision=0)
    assert feed.load(entry, {KEY: 12}) == [Missing(KEY, Gap(10, 12))]
    assert feed.load(entry, {KEY: 4}) == []
    tail = feed.tail(KEY)
    assert tail is not None
    assert (tail.first, tail.end) == (4, 4)
    assert np.frombuffer(tail.since(4)[0], dtype="<i8").size == 0
