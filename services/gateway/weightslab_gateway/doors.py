"""Whoever comes in, by a call, for an image or to log in, is looked at here."""

from __future__ import annotations

import time
from collections.abc import Callable

from weightslab_common.errors import ResourceExhausted, Unauthenticated
from weightslab_common.tokens import Login, Role, Tokens

from weightslab_gateway.limits import CallRate, Guessing


def host_of(peer: str) -> str:
    """The address in `address:port`."""
    return peer.rpartition(":")[0]


class Doors:
    """Checks credentials, slows who guesses them, and bounds how often one caller comes."""

    def __init__(self, tokens: Tokens, *, calls_per_sec: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._tokens = tokens
        self._rate = CallRate(calls_per_sec, clock=clock)
        self._guessing = Guessing(clock=clock)

    def admit(self, credential: str, *, host: str) -> Role:
        """The role of a caller, counted. Raises Unauthenticated, ResourceExhausted."""
        role = self.role(credential, host=host)
        self._rate.take(credential)
        return role

    def role(self, credential: str, *, host: str) -> Role:
        """The role that a token or a session gives. Raises Unauthenticated, ResourceExhausted."""
        try:
            self._guessing.check(host)
        except ResourceExhausted:
            # A session is signed and cannot be guessed: those who are in stay in, whoever guesses beside them.
            try:
                return self._tokens.check_session(credential)
            except Unauthenticated:
                pass
            raise
        try:
            return self._tokens.check(credential)
        except Unauthenticated:
            self._guessing.note(host, credential)
            raise

    def login(self, code: str, *, host: str) -> Login:
        """What a one-time code stands for. Raises Unauthenticated, ResourceExhausted."""
        self._guessing.check(host)
        try:
            return self._tokens.check_login(code)
        except Unauthenticated:
            self._guessing.note(host, code)
            raise

    def session(self, role: Role) -> str:
        """A signed session of `role`."""
        return self._tokens.session(role)
