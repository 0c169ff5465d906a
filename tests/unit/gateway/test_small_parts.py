"""Logins, the image cache, the pace of a viewer and the sentences about missing parts."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from weightslab_common.errors import NotFound, ResourceExhausted, Unauthenticated
from weightslab_common.tokens import LOGIN_MAX_AGE_SECS, Role, Tokens
from weightslab_gateway.availability import availability
from weightslab_gateway.doors import Doors
from weightslab_gateway.limits import FAILURE_WINDOW_SECS, MAX_CALLERS, MAX_FAILURES, CallRate, Guessing
from weightslab_gateway.logins import Logins
from weightslab_gateway.media_cache import ENTRY_BYTES, Image, MediaCache
from weightslab_gateway.origins import host_name
from weightslab_gateway.watch import Pace

TOKENS = Tokens(editor_token="editor", viewer_token="viewer")


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def _guess(doors: Doors, *, host: str) -> None:
    """Try as many different tokens as close the door."""
    for number in range(MAX_FAILURES):
        with pytest.raises(Unauthenticated):
            doors.role(f"guess {number}", host=host)


class TestDoors:
    def test_who_guesses_has_to_wait_a_minute(self) -> None:
        clock = Clock()
        doors = Doors(TOKENS, calls_per_sec=1, clock=clock)
        _guess(doors, host="10.0.0.1")
        for attempt in (lambda: doors.role("editor", host="10.0.0.1"), lambda: doors.login("code", host="10.0.0.1")):
            with pytest.raises(ResourceExhausted, match="wait a minute"):
                attempt()
        clock.now += FAILURE_WINDOW_SECS
        assert doors.role("editor", host="10.0.0.1") is Role.EDITOR

    def test_guessing_shuts_nobody_else_out(self) -> None:
        doors = Doors(TOKENS, calls_per_sec=1, clock=Clock())
        _guess(doors, host="10.0.0.1")
        assert doors.role("editor", host="10.0.0.2") is Role.EDITOR
        # Behind a proxy all have one address: who is logged in stays so.
        assert doors.role(TOKENS.session(Role.VIEWER), host="10.0.0.1") is Role.VIEWER
        forged = Tokens(editor_token="guess").session(Role.EDITOR)
        with pytest.raises(ResourceExhausted):
            doors.role(forged, host="10.0.0.1")

    def test_one_outdated_token_is_no_guessing_however_often_it_comes(self) -> None:
        doors = Doors(TOKENS, calls_per_sec=1, clock=Clock())
        for _ in range(5 * MAX_FAILURES):
            with pytest.raises(Unauthenticated):
                doors.role("outdated", host="10.0.0.1")
        assert doors.role("editor", host="10.0.0.1") is Role.EDITOR

    def test_a_token_that_comes_too_often_has_to_wait_and_others_do_not(self) -> None:
        clock = Clock()
        doors = Doors(TOKENS, calls_per_sec=2, clock=clock)
        for _ in range(4):
            doors.admit("editor", host="h")
        with pytest.raises(ResourceExhausted, match="WL_MAX_CALLS_PER_SEC"):
            doors.admit("editor", host="h")
        doors.admit("viewer", host="h")
        clock.now += 0.5
        doors.admit("editor", host="h")
        with pytest.raises(ResourceExhausted):
            doors.admit("editor", host="h")

    @given(st.lists(st.floats(0, 2), max_size=200))
    def test_nobody_gets_more_than_the_rate_and_its_burst(self, pauses: list[float]) -> None:
        clock = Clock()
        rate = CallRate(5, clock=clock)
        began, taken = clock.now, 0
        for pause in pauses:
            clock.now += pause
            try:
                rate.take("caller")
                taken += 1
            except ResourceExhausted:
                pass
        assert taken <= 10 + 5 * (clock.now - began) + 1e-6

    def test_what_is_remembered_of_callers_is_bounded(self) -> None:
        rate, guessing = CallRate(1, clock=Clock()), Guessing(clock=Clock())
        for number in range(MAX_CALLERS + 50):
            rate.take(str(number))
            guessing.note(str(number), "guess")
        assert len(rate._buckets) == len(guessing._by_peer) == MAX_CALLERS


class TestLogins:
    def test_a_used_code_is_remembered_for_as_long_as_it_is_valid(self) -> None:
        clock = Clock()
        logins = Logins(Doors(TOKENS, calls_per_sec=1, clock=clock), clock=clock)
        code = TOKENS.login(Role.VIEWER)
        assert logins.by_code(code, host="h") is Role.VIEWER
        clock.now += LOGIN_MAX_AGE_SECS - 1
        with pytest.raises(Unauthenticated, match="used already"):
            logins.by_code(code, host="h")


def _image(size_bytes: int, version: str = "1") -> Image:
    return Image(content=bytes(size_bytes), media_type="image/png", version=version, etag=version)


class TestMediaCache:
    async def test_it_never_holds_more_than_its_bytes_and_drops_the_least_used(self) -> None:
        cache = MediaCache(max_bytes=3 * (100 + ENTRY_BYTES), max_age_secs=9, clock=Clock())
        for name in "abc":
            await cache.fetch(name, lambda: _ready(_image(100)))
        assert cache.get("a")
        await cache.fetch("d", lambda: _ready(_image(100)))
        assert cache.get("b") is None
        assert all(cache.get(name) for name in "acd")
        assert cache.size_bytes == 3 * (100 + ENTRY_BYTES)
        await cache.fetch("huge", lambda: _ready(_image(10_000)))
        assert cache.get("huge") is None
        assert all(cache.get(name) for name in "acd")

    async def test_what_is_old_is_given_only_to_who_asks_for_it(self) -> None:
        clock = Clock()
        cache = MediaCache(max_bytes=10_000, max_age_secs=5, clock=clock)
        await cache.fetch("a", lambda: _ready(_image(1)))
        clock.now += 5.1
        assert cache.get("a") is None
        assert cache.stale("a") == _image(1)
        await cache.fetch("a", lambda: _ready(_image(2)))
        assert cache.get("a") == _image(2)
        assert cache.size_bytes == 2 + ENTRY_BYTES

    async def test_a_failure_is_told_to_all_who_wait_and_not_kept(self) -> None:
        cache = MediaCache(max_bytes=10_000, max_age_secs=5, clock=Clock())
        failing = asyncio.Event()

        async def fail() -> Image:
            await failing.wait()
            raise NotFound("no such sample")

        waiting = [asyncio.create_task(cache.fetch("a", fail)) for _ in range(3)]
        await asyncio.sleep(0)
        failing.set()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(result) for result in results] == [NotFound] * 3
        assert (await cache.fetch("a", lambda: _ready(_image(1)))).version == "1"

    async def test_a_fetch_ends_when_the_last_who_asked_has_left(self) -> None:
        cache = MediaCache(max_bytes=10_000, max_age_secs=5, clock=Clock())
        started, ended = asyncio.Event(), asyncio.Event()

        async def fetch() -> Image:
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()
            raise AssertionError("never here")

        first, second = (asyncio.create_task(cache.fetch("a", fetch)) for _ in range(2))
        await started.wait()
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert not ended.is_set(), "another one still waits"
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        async with asyncio.timeout(5):
            await ended.wait()


async def _ready(image: Image) -> Image:
    return image


class TestPace:
    @given(st.sampled_from([1, 2, 10]), st.lists(st.floats(0, 0.3), min_size=5, max_size=60))
    def test_a_viewer_never_gets_more_than_its_rate(self, rate: int, pauses: list[float]) -> None:
        pace, now, sent = Pace(rate), 100.0, []
        for pause in pauses:
            now += pause
            now += pace.delay_secs(now)
            pace.sent(now)
            sent.append(now)
        if len(sent) > 1:
            assert len(sent) - 1 <= (sent[-1] - sent[0]) * rate + 1.5

    def test_what_comes_a_little_early_is_not_delayed(self) -> None:
        pace, now = Pace(10), 100.0
        for jitter in (0.0, 0.02, -0.02, 0.01, -0.02):
            assert pace.delay_secs(now + jitter) == 0
            pace.sent(now + jitter)
            now += 0.1


@pytest.mark.parametrize(
    ("bus", "ledger", "store", "trainer", "missing"),
    [
        (True, True, True, True, []),
        (False, False, False, False, ["bus", "ledger", "trainer"]),
        (True, False, False, True, ["ledger"]),
        (True, True, False, True, ["store"]),
        (True, True, True, False, ["trainer"]),
        (True, False, False, False, ["ledger", "trainer"]),
    ],
)
def test_missing_parts_are_named_with_what_to_check(
    bus: bool, ledger: bool, store: bool, trainer: bool, missing: list[str]
) -> None:
    told = availability(bus=bus, ledger=ledger, store=store, trainer=trainer)
    assert list(told.missing) == missing
    assert bool(told.message) == bool(missing)
    assert ("check" in told.message) == bool(missing)


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("localhost", "localhost"),
        ("LOCALHOST:80", "localhost"),
        ("[::1]:80", "[::1]"),
        ("", ""),
        ("[::1", ""),
        ("a:b:c", "a"),
    ],
)
def test_the_name_in_a_host_header(host: str, name: str) -> None:
    assert host_name(host) == name
