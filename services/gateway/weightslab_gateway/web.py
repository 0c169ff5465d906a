"""The HTTP application at the public port: gRPC-Web, images, authentication.

Raw ASGI down to the gRPC-Web translator, so that nothing between it and the socket buffers a stream.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, MutableMapping
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
from weightslab_gateway.replies import SECURITY_HEADERS, error_reply, reply_for

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]


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
        send = with_headers(send, SECURITY_HEADERS + (cors_headers(origin) if origin else []))
        if scope["method"] == "OPTIONS":
            await self._preflight(scope, receive, send, origin)
        elif scope["path"].startswith(media_http.PREFIX) or scope["path"] == auth_http.PATH:
            await (await self._respond(Request(scope, receive)))(scope, receive, send)
        elif scope["path"].count("/") == 2:
            await self._grpc_web(scope, receive, send)
        else:
            await error_reply(404, "not_found", "nothing is served at this address")(scope, receive, send)

    async def _preflight(self, scope: Scope, receive: Receive, send: Send, origin: str | None) -> None:
        response = Response(status_code=204)
        if origin:
            # What every answer carries is added to it anyway.
            common = {name for name, _ in cors_headers(origin)}
            response.raw_headers += [pair for pair in preflight_headers(origin) if pair[0] not in common]
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        part, name = (self._auth, "auth") if request.url.path == auth_http.PATH else (self._media, "media")
        request_id = request_id_of(request.headers.get(REQUEST_ID, ""))
        with working_for(request_id), traces.span(f"{request.method} {name}", kind="server", parent=request.headers):
            response = await _response_of(part, request)
            log.debug("%s %s %d", request.method, request.url.path, response.status_code)
        response.headers[REQUEST_ID] = request_id
        return response


async def _response_of(part: AuthHttp | MediaHttp, request: Request) -> Response:
    try:
        return await part.respond(request)
    except WeightsLabError as error:
        return reply_for(error)
    except Exception:
        log.exception("fault while answering %s", request.url.path)
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
