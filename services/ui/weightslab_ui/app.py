"""The page over HTTP."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from weightslab_ui.assets import Asset
from weightslab_ui.security import Guard, host_name
from weightslab_ui.settings import UiSettings

_FOREVER = "public, max-age=31536000, immutable"
_ASK_AGAIN = "no-cache"


def _accepts_gzip(request: Request) -> bool:
    offers = (offer.strip().lower() for offer in request.headers.get("accept-encoding", "").split(","))
    return any(offer == "gzip" or (offer.startswith("gzip;") and not offer.endswith("q=0")) for offer in offers)


def _reply(asset: Asset, request: Request) -> Response:
    headers = {
        "cache-control": _FOREVER if asset.immutable else _ASK_AGAIN,
        "etag": asset.etag,
        "vary": "accept-encoding",
    }
    if asset.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if asset.compressed and _accepts_gzip(request):
        return Response(asset.compressed, media_type=asset.media_type, headers={**headers, "content-encoding": "gzip"})
    return Response(asset.body, media_type=asset.media_type, headers=headers)


def build(settings: UiSettings, assets: Mapping[str, Asset], *, version: str) -> Starlette:
    """The application: the page's files, `/config.json` and `/healthz`."""

    async def file(request: Request) -> Response:
        asset = assets.get(request.url.path)
        return _reply(asset, request) if asset else PlainTextResponse("There is no such page.\n", status_code=404)

    async def config(request: Request) -> Response:
        server_url = settings.server_url(host_name(request.headers.get("host", "")))
        return JSONResponse({"serverUrl": server_url, "version": version}, headers={"cache-control": "no-store"})

    async def health(request: Request) -> Response:
        return JSONResponse({"status": "ok"}, headers={"cache-control": "no-store"})

    return Starlette(
        routes=[Route("/config.json", config), Route("/healthz", health), Route("/{path:path}", file)],
        middleware=[Middleware(Guard, settings=settings)],
    )
