"""The HTTP application at the public port: gRPC-Web, images, authentication.

Raw ASGI down to the gRPC-Web translator, so that nothing between it and the socket buffers a stream.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Collection, Mapping, MutableMapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from weightslab_common import traces
from weightslab_common.errors import WeightsLabError
from weightslab_common.requests import request_id_of, working_for

from weightslab_gateway import auth_http, media_http
from weightslab_gateway.auth_http import AuthHttp
from weightslab_gateway.guard import REQUEST_ID
from weightslab_gateway.media_http import MediaHttp
from weightslab_gateway.origins import check_host, check_origin
from weightslab_gateway.protocol_grpcweb.cors import cors_headers, preflight_headers
from weightslab_gateway.protocol_grpcweb.handler import GrpcWeb
from weightslab_gateway.protocol_grpcweb.headers import RawHeaders, decode_headers
from weightslab_gateway.protocol_grpcweb.stream import Receive, Send
from weightslab_gateway.replies import SECURITY_HEADERS, Answer, Scope, error_reply, reply_for

log = logging.getLogger(__name__)


class Web:
    """Checks who speaks, then hands on by path."""

    def __init__(
        self, *, grpc_web: GrpcWeb, media: MediaHttp, auth: AuthHttp, hosts: Collection[str], origins: Collection[str]
    ) -> None:
        self._grpc_web = grpc_web
        self._media = media
        self._auth = auth
        self._hosts = frozenset(host.lower() for host in hosts)
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = decode_headers(scope["headers"])
        try:
            check_host(headers, self._hosts)
            origin = check_origin(headers, self._origins, named="*" not in self._hosts)
        except WeightsLabError as error:
            await _closing(reply_for(error))(scope, receive, with_headers(send, SECURITY_HEADERS))
            return
        common = SECURITY_HEADERS + (cors_headers(origin) if origin else [])
        if scope["method"] == "OPTIONS":
            await self._preflight(scope, receive, with_headers(send, common), origin)
        elif scope["path"].startswith(media_http.PREFIX) or scope["path"] == auth_http.PATH:
            await self._respond(scope, receive, send, headers, common)
        elif scope["path"].count("/") == 2:
            await self._grpc_web(scope, receive, with_headers(send, common))
        else:
            await error_reply(404, "not_found", "nothing is served at this address")(
                scope, receive, with_headers(send, common)
            )

    async def _preflight(self, scope: Scope, receive: Receive, send: Send, origin: str | None) -> None:
        response = Response(status_code=204)
        if origin:
            # What every answer carries is added to it anyway.
            common = {name for name, _ in cors_headers(origin)}
            response.raw_headers += [pair for pair in preflight_headers(origin) if pair[0] not in common]
        await response(scope, receive, send)

    async def _respond(
        self, scope: Scope, receive: Receive, send: Send, headers: Mapping[str, str], common: RawHeaders
    ) -> None:
        is_auth = scope["path"] == auth_http.PATH
        request_id = request_id_of(headers.get(REQUEST_ID, ""))
        with (
            working_for(request_id),
            traces.span(f"{scope['method']} {'auth' if is_auth else 'media'}", kind="server", parent=headers),
        ):
            if is_auth:
                response = await _response_of(self._auth.respond(Request(scope, receive)), scope)
            else:
                response = await _response_of(self._media.respond(scope, headers), scope)
            log.debug("%s %s %d", scope["method"], scope["path"], response.status_code)
        await response(scope, receive, with_headers(send, [*common, (b"x-request-id", request_id.encode())]))


async def _response_of(answering: Awaitable[Answer | Response], scope: Scope) -> Answer | Response:
    try:
        return await answering
    except WeightsLabError as error:
        return reply_for(error)
    except Exception:
        log.exception("fault while answering %s", scope["path"])
        return error_reply(500, "internal", "a fault of the gateway; its log has the details")


def _closing(response: Response) -> Response:
    response.headers["connection"] = "close"
    return response


def with_headers(send: Send, headers: RawHeaders) -> Send:
    """A `send` that adds `headers` to every response, except those that the response has itself."""

    async def send_with(event: MutableMapping[str, Any]) -> None:
        if event["type"] == "http.response.start":
            own = list(event.get("headers", []))
            names = {name for name, _ in own}
            event = {**event, "headers": own + [pair for pair in headers if pair[0] not in names]}
        await send(event)

    return send_with
