"""What keeps the page to itself: the host check and the headers of every reply."""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from weightslab_ui.settings import UiSettings


def host_name(header: str) -> str:
    """The name in a Host header, without its port, in lower case."""
    name = header.strip().lower()
    if name.startswith("["):
        return name[: name.find("]") + 1]
    return name.partition(":")[0]


def content_policy(server_url: str) -> str:
    """The content security policy of a page that talks to `server_url`."""
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            f"img-src 'self' blob: data: {server_url}",
            f"connect-src 'self' {server_url}",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


class Guard:
    """Refuses requests for other host names, and adds the security headers to every reply.

    A name of somebody else that points here (DNS rebinding) would otherwise make our page a page of theirs.
    """

    def __init__(self, app: ASGIApp, settings: UiSettings) -> None:
        self._app = app
        self._settings = settings
        self._names = settings.host_names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        name = host_name(Headers(scope=scope).get("host", ""))
        known = name in self._names or "*" in self._names
        # Load balancers ask for the health by an address that is no name of ours; it tells nothing.
        allowed = known or scope["path"] == "/healthz"
        # A name that is not ours must not get into a policy.
        server_url = self._settings.server_url(name if known else "")

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                _add_headers(MutableHeaders(scope=message), server_url)
            await send(message)

        if allowed:
            await self._app(scope, receive, send_guarded)
            return
        refusal = PlainTextResponse(
            f"This page is not served as {name or 'a host without a name'}; "
            "add the name to WL_ALLOWED_HOSTS if it is yours.\n",
            status_code=421,
        )
        await refusal(scope, receive, send_guarded)


def _add_headers(headers: MutableHeaders, server_url: str) -> None:
    headers["content-security-policy"] = content_policy(server_url)
    headers["x-content-type-options"] = "nosniff"
    headers["x-frame-options"] = "DENY"
    headers["referrer-policy"] = "no-referrer"
    headers["cross-origin-opener-policy"] = "same-origin"
    headers["permissions-policy"] = "camera=(), microphone=(), geolocation=()"
