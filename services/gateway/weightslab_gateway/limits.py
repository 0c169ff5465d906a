"""Bounds on what one caller may do in a second, and on guessing."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from weightslab_common.errors import ResourceExhausted

# Callers that are remembered; the ones heard longest ago are forgotten, and begin anew.
MAX_CALLERS = 10_000
MAX_FAILURES = 10
FAILURE_WINDOW_SECS = 60.0


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class CallRate:
    """A token bucket per caller: `per_sec` calls a second, and twice as many at once after a pause."""

    def __init__(self, per_sec: float, *, clock: Callable[[], float]) -> None:
        self._per_sec = per_sec
        self._clock = clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, caller: str) -> None:
        """Count one call of `caller`. Raises ResourceExhausted when it makes too many."""
        now = self._clock()
        bucket = self._buckets.get(caller)
        if bucket is None:
            bucket = self._buckets[caller] = _Bucket(2 * self._per_sec, now)
            if len(self._buckets) > MAX_CALLERS:
                self._buckets.popitem(last=False)
        bucket.tokens = min(2 * self._per_sec, bucket.tokens + (now - bucket.at) * self._per_sec)
        bucket.at = now
        self._buckets.move_to_end(caller)
        if bucket.tokens < 1:
            raise ResourceExhausted(
                f"more than {self._per_sec:g} calls a second with one token; make fewer, or raise WL_MAX_CALLS_PER_SEC"
            )
        bucket.tokens -= 1


@dataclass(slots=True)
class _Guesses:
    # By what was tried: a client that keeps on sending one outdated token guesses nothing.
    tried: dict[bytes, float] = field(default_factory=dict)


class Guessing:
    """Counts the different wrong credentials that come from one address, and closes the door for a minute after ten."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._by_peer: OrderedDict[str, _Guesses] = OrderedDict()

    def check(self, peer: str) -> None:
        """Raise ResourceExhausted while the door is closed to `peer`."""
        guesses = self._by_peer.get(peer)
        if guesses is None:
            return
        since = self._clock() - FAILURE_WINDOW_SECS
        guesses.tried = {tried: at for tried, at in guesses.tried.items() if at > since}
        if len(guesses.tried) >= MAX_FAILURES:
            raise ResourceExhausted("too many failed logins and wrong tokens from this address; wait a minute")

    def note(self, peer: str, credential: str) -> None:
        """Remember a wrong credential, by its hash."""
        guesses = self._by_peer.setdefault(peer, _Guesses())
        self._by_peer.move_to_end(peer)
        tried = hashlib.blake2b(credential.encode("utf-8", "replace"), digest_size=16).digest()
        guesses.tried.setdefault(tried, self._clock())
        if len(self._by_peer) > MAX_CALLERS:
            self._by_peer.popitem(last=False)
