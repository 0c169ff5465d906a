"""`/auth/session`: a browser logs in, asks whether it is, and logs out.

POST   {"login": one-time code} or {"token": token}   sets the cookie, answers {"role", "session"}
GET    with the cookie                                 answers {"role", "session"}: another tab needs no login
DELETE                                                 forgets the cookie
"""

from __future__ import annotations

import asyncio

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from weightslab_common.errors import DeadlineExceeded, InvalidArgument, ResourceExhausted, WeightsLabError
from weightslab_common.tokens import SESSION_MAX_AGE_SECS, Role

from weightslab_gateway.logins import Logins
from weightslab_gateway.metrics import Metrics
from weightslab_gateway.origins import check_reader
from weightslab_gateway.replies import error_reply, json_reply

PATH = "/auth/session"
COOKIE = "wl_session"
MAX_BODY_BYTES = 4096
MAX_BODY_SECS = 10.0


class AuthHttp:
    """Answers requests for PATH; Host and Origin were checked before."""

    def __init__(self, logins: Logins, *, metrics: Metrics, secure_cookie: bool) -> None:
        self._logins = logins
        self._metrics = metrics
        self._secure_cookie = secure_cookie

    async def respond(self, request: Request) -> Response:
        """Raises WeightsLabError."""
        if request.method == "POST":
            return await self._log_in(request)
        if request.method == "GET":
            return self._tell_session(request)
        if request.method == "DELETE":
            response = json_reply(200, {})
            response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict", secure=self._secure_cookie)
            return response
        response = error_reply(405, "method_not_allowed", f"{PATH} takes POST, GET and DELETE")
        response.headers["allow"] = "POST, GET, DELETE"
        return response

    async def _log_in(self, request: Request) -> Response:
        if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
            return error_reply(415, "unsupported_media_type", "send JSON with the content type application/json")
        try:
            role = self._role(await _read_json(request), host=client_host(request))
        except WeightsLabError:
            self._metrics.logins.labels("refused").inc()
            raise
        self._metrics.logins.labels("accepted").inc()
        session = self._logins.session(role)
        response = json_reply(200, {"role": role.value, "session": session})
        response.set_cookie(
            COOKIE,
            session,
            max_age=SESSION_MAX_AGE_SECS,
            path="/",
            httponly=True,
            samesite="strict",
            secure=self._secure_cookie,
        )
        return response

    def _role(self, body: dict[str, object], *, host: str) -> Role:
        login, token = body.get("login"), body.get("token")
        if isinstance(login, str) and token is None:
            return self._logins.by_code(login, host=host)
        if isinstance(token, str) and login is None:
            return self._logins.by_token(token, host=host)
        raise InvalidArgument('send {"login": "<one-time code>"} or {"token": "<token>"}')

    def _tell_session(self, request: Request) -> Response:
        # Its answer is a credential.
        check_reader(request.headers)
        session = request.cookies.get(COOKIE, "")
        if not session:
            return error_reply(401, "unauthenticated", "not logged in")
        role = self._logins.by_token(session, host=client_host(request))
        response = json_reply(200, {"role": role.value, "session": session})
        response.headers["cross-origin-resource-policy"] = "same-origin"
        return response


def client_host(request: Request) -> str:
    """The address that a request comes from."""
    return request.client.host if request.client else "unknown"


async def _read_json(request: Request) -> dict[str, object]:
    """The body, which must be a small JSON object. Raises InvalidArgument, ResourceExhausted, DeadlineExceeded."""
    body = b""
    try:
        async with asyncio.timeout(MAX_BODY_SECS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise ResourceExhausted(f"the request is larger than {MAX_BODY_BYTES} bytes")
    except ClientDisconnect:
        raise InvalidArgument("the request ended early") from None
    except TimeoutError:
        raise DeadlineExceeded(f"no whole request came within {MAX_BODY_SECS:g} s") from None
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidArgument(f"the body is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise InvalidArgument("the body must be a JSON object")
    return content
