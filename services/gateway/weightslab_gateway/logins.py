"""Logging in: one-time codes are used once."""

from __future__ import annotations

import time
from collections.abc import Callable

from weightslab_common.errors import Unauthenticated
from weightslab_common.tokens import LOGIN_MAX_AGE_SECS, Role

from weightslab_gateway.doors import Doors

# Far above what people do; the oldest are forgotten first, and those have expired by then.
MAX_NONCES = 100_000


class Logins:
    """Checks credentials of people."""

    def __init__(self, doors: Doors, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._doors = doors
        self._clock = clock
        self._used: dict[str, float] = {}

    def by_code(self, code: str, *, host: str) -> Role:
        """The role that a one-time code gives. Raises Unauthenticated, also when it was used; ResourceExhausted."""
        login = self._doors.login(code, host=host)
        self._use(login.nonce)
        return login.role

    def by_token(self, token: str, *, host: str) -> Role:
        """The role that a token or a session gives. Raises Unauthenticated, ResourceExhausted."""
        return self._doors.role(token, host=host)

    def session(self, role: Role) -> str:
        return self._doors.session(role)

    def _use(self, nonce: str) -> None:
        now = self._clock()
        self._used = {used: until for used, until in self._used.items() if until > now}
        if nonce in self._used or len(self._used) >= MAX_NONCES:
            raise Unauthenticated("this login link was used already; `weightslab token --link` makes a new one")
        self._used[nonce] = now + LOGIN_MAX_AGE_SECS
