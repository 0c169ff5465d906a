"""Access tokens, sessions and one-time logins.

The editor token is the root of trust: sessions and logins are signed with it, so that every gateway that has the token
accepts them and none has to keep them.
"""

from __future__ import annotations

import hmac
import os
import secrets
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from itsdangerous import BadSignature, SignatureExpired, URLSafeTimedSerializer

from weightslab_common.errors import Unauthenticated

SESSION_MAX_AGE_SECS = 7 * 24 * 3600
LOGIN_MAX_AGE_SECS = 15 * 60


class Role(StrEnum):
    VIEWER = "viewer"
    EDITOR = "editor"


@dataclass(frozen=True, slots=True)
class Login:
    """A one-time login: `nonce` is what may be used once."""

    role: Role
    nonce: str


def load_or_create_token(path: Path) -> str:
    """Return the token in `path`; make one, readable by its owner only, when there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    token = secrets.token_urlsafe(32)
    with os.fdopen(descriptor, "w") as file:
        file.write(token + "\n")
    return token


class Tokens:
    """Knows the two tokens; checks and signs."""

    def __init__(self, *, editor_token: str, viewer_token: str | None = None) -> None:
        self._by_role = {Role.EDITOR: editor_token}
        if viewer_token:
            self._by_role[Role.VIEWER] = viewer_token
        self._sessions = URLSafeTimedSerializer(editor_token, salt="weightslab.session")
        self._logins = URLSafeTimedSerializer(editor_token, salt="weightslab.login")

    def session(self, role: Role) -> str:
        """A signed session for a browser."""
        return str(self._sessions.dumps({"role": role.value}))

    def login(self, role: Role) -> str:
        """A signed one-time login, to be put into a link."""
        return str(self._logins.dumps({"role": role.value, "nonce": secrets.token_urlsafe(8)}))

    def check(self, credential: str) -> Role:
        """The role that a token or session gives. Raises Unauthenticated."""
        # Compared as bytes and to the end, so that timing tells nothing of the token.
        found = [
            role for role, token in self._by_role.items() if hmac.compare_digest(credential.encode(), token.encode())
        ]
        return found[0] if found else self.check_session(credential)

    def check_session(self, credential: str) -> Role:
        """The role that a session gives. Raises Unauthenticated, also for a token."""
        try:
            return Role(self._sessions.loads(credential, max_age=SESSION_MAX_AGE_SECS)["role"])
        except SignatureExpired:
            raise Unauthenticated("the session has expired; log in again") from None
        except (BadSignature, KeyError, ValueError, TypeError):
            raise Unauthenticated("the token is wrong; `weightslab token` prints the right one") from None

    def check_login(self, code: str) -> Login:
        """The login that a one-time code stands for; the caller sees to it that it is used once.

        Raises Unauthenticated.
        """
        try:
            claims = self._logins.loads(code, max_age=LOGIN_MAX_AGE_SECS)
            return Login(role=Role(claims["role"]), nonce=str(claims["nonce"]))
        except SignatureExpired:
            raise Unauthenticated("this login link has expired; `weightslab token --link` makes a new one") from None
        except (BadSignature, KeyError, ValueError, TypeError):
            raise Unauthenticated("this login link is not valid; `weightslab token --link` makes a new one") from None
