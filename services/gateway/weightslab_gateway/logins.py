"""Logging in: one-time codes are used once, and guessing is slowed."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from weightslab_common.errors import ResourceExhausted, Unauthenticated
from weightslab_common.tokens import LOGIN_MAX_AGE_SECS, Role, Tokens

MAX_FAILURES = 10
FAILURE_WINDOW_SECS = 60.0
# Far above what people do; the oldest are forgotten first, and those have expired by then.
MAX_NONCES = 100_000


class Logins:
    """Checks credentials of people. Counts failures of all callers together: behind a proxy they look alike."""

    def __init__(self, tokens: Tokens, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._tokens = tokens
        self._clock = clock
        self._used: dict[str, float] = {}
        self._failures: deque[float] = deque(maxlen=MAX_FAILURES)

    def by_code(self, code: str) -> Role:
        """The role that a one-time code gives. Raises Unauthenticated, also when it was used before."""
        self._check_rate()
        try:
            login = self._tokens.check_login(code)
            self._use(login.nonce)
        except Unauthenticated:
            self._failures.append(self._clock())
            raise
        return login.role

    def by_token(self, token: str) -> Role:
        """The role that a token or a session gives. Raises Unauthenticated."""
        self._check_rate()
        try:
            return self._tokens.check(token)
        except Unauthenticated:
            self._failures.append(self._clock())
            raise

    def session(self, role: Role) -> str:
        return self._tokens.session(role)

    def _check_rate(self) -> None:
        if len(self._failures) == MAX_FAILURES and self._clock() - self._failures[0] < FAILURE_WINDOW_SECS:
            raise ResourceExhausted("too many failed logins; wait a minute")

    def _use(self, nonce: str) -> None:
        now = self._clock()
        self._used = {used: until for used, until in self._used.items() if until > now}
        if nonce in self._used or len(self._used) >= MAX_NONCES:
            raise Unauthenticated("this login link was used already; `weightslab token --link` makes a new one")
        self._used[nonce] = now + LOGIN_MAX_AGE_SECS
