from __future__ import annotations

import gzip
import re
from pathlib import Path

import httpx
import pytest
from weightslab_common.errors import FailedPrecondition
from weightslab_ui import app, assets
from weightslab_ui.settings import UiSettings

SCRIPT = b"console.log('a page');" * 20


@pytest.fixture
def page(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_bytes(b"<!doctype html><title>page</title>")
    (tmp_path / "assets" / "index-abc123.js").write_bytes(SCRIPT)
    (tmp_path / "assets" / "index-abc123.js.gz").write_bytes(gzip.compress(SCRIPT))
    (tmp_path / ".built").write_text("not for everybody")
    return tmp_path


def client(page: Path, *, host: str = "localhost:5173", **values: object) -> httpx.AsyncClient:
    settings = UiSettings(_env_file=None, **values)  # type: ignore[call-arg,arg-type]
    application = app.build(settings, assets.load(page), version="1.2.3")
    return httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url=f"http://{host}")


async def test_the_page_is_asked_for_again_and_its_hashed_files_never(page: Path) -> None:
    web = client(page)
    assert (await web.get("/")).headers["cache-control"] == "no-cache"
    assert "immutable" in (await web.get("/assets/index-abc123.js")).headers["cache-control"]


async def test_a_browser_that_takes_gzip_gets_what_was_compressed_before(page: Path) -> None:
    web = client(page)
    packed = await web.get("/assets/index-abc123.js", headers={"accept-encoding": "br, gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.content == SCRIPT
    plain = await web.get("/assets/index-abc123.js", headers={"accept-encoding": "gzip;q=0"})
    assert "content-encoding" not in plain.headers
    assert plain.content == SCRIPT


async def test_an_unchanged_file_is_not_sent_again(page: Path) -> None:
    web = client(page)
    etag = (await web.get("/")).headers["etag"]
    again = await web.get("/", headers={"if-none-match": etag})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("path", ["/.built", "/../pyproject.toml", "/assets", "/%2e%2e/etc/passwd", "/nowhere"])
async def test_only_files_of_the_page_can_be_asked_for(page: Path, path: str) -> None:
    assert (await client(page).get(path)).status_code == 404


async def test_the_configuration_tells_where_the_gateway_is(page: Path) -> None:
    web = client(page, server_protocol="https", server_host="studio.example", server_port=443)
    assert (await web.get("/config.json")).json() == {"serverUrl": "https://studio.example:443", "version": "1.2.3"}


async def test_a_page_opened_under_one_loopback_name_finds_the_gateway_under_the_same(page: Path) -> None:
    for host in ("localhost", "127.0.0.1", "[::1]"):
        web = client(page, host=f"{host}:5173")
        assert (await web.get("/config.json")).json()["serverUrl"] == f"http://{host}:8080"


async def test_the_policy_allows_the_gateway_and_nothing_inline(page: Path) -> None:
    for path in ("/", "/nowhere", "/healthz"):
        headers = (await client(page).get(path)).headers
        policy = dict(re.findall(r"([a-z-]+) ([^;]+)", headers["content-security-policy"]))
        assert policy["default-src"] == "'none'"
        assert policy["connect-src"] == "'self' http://localhost:8080"
        assert policy["img-src"] == "'self' blob: data: http://localhost:8080"
        assert policy["frame-ancestors"] == "'none'"
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


async def test_a_foreign_host_name_is_refused_and_not_repeated_in_the_policy(page: Path) -> None:
    reply = await client(page, host="evil.example").get("/")
    assert reply.status_code == 421
    assert "WL_ALLOWED_HOSTS" in reply.text
    assert "evil.example" not in reply.headers["content-security-policy"]


async def test_more_host_names_can_be_allowed(page: Path) -> None:
    assert (
        await client(page, host="studio.example", allowed_hosts="localhost, Studio.Example").get("/")
    ).status_code == 200
    assert (await client(page, host="any.example", allowed_hosts="*").get("/")).status_code == 200


async def test_health_says_ok(page: Path) -> None:
    for host in ("localhost", "10.0.0.7:5173"):
        assert (await client(page, host=host).get("/healthz")).json() == {"status": "ok"}


def test_a_page_that_is_not_built_says_how_to_build_it(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="make page"):
        assets.load(tmp_path)


@pytest.mark.parametrize("host", ["a b", "x;y", "http://x", "a'b", ""])
def test_a_gateway_host_that_could_break_the_policy_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match="server_host"):
        UiSettings(_env_file=None, server_host=host)  # type: ignore[call-arg]
