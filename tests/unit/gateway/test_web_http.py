"""Authentication, images and everything that attacks them, over HTTP."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from weightslab_common import subjects
from weightslab_common.bus import Bus
from weightslab_common.columns import F32, U32, pack
from weightslab_common.tokens import Role, Tokens
from weightslab_proto.weightslab.bus.v1 import GetMediaPageRequest, MediaBoxes
from weightslab_proto.weightslab.v1 import ListExperimentsRequest

from tests.support.grpcweb import BINARY, frame
from tests.support.studio import TOKEN, VIEWER_TOKEN
from tests.unit.gateway.conftest import ORIGIN, Gateway, running_gateway
from tests.unit.gateway.peers import LedgerPeer, TrainerPeer, settle

EVIL = "https://evil.example"
LIST = "/weightslab.v1.ExperimentService/ListExperiments"
BEARER = {"authorization": f"Bearer {VIEWER_TOKEN}"}


async def _log_in(http: httpx.AsyncClient, **body: str) -> httpx.Response:
    return await http.post("/auth/session", json=body, headers={"origin": ORIGIN})


class TestLoggingIn:
    async def test_a_one_time_login_gives_a_session_that_works_for_calls(self, gateway: Gateway) -> None:
        async with gateway.http() as http:
            response = await _log_in(http, login=gateway.tokens.login(Role.EDITOR))
            assert response.status_code == 200
            assert response.json()["role"] == "editor"
            session = response.json()["session"]
            called = await http.post(
                LIST,
                content=frame(bytes(ListExperimentsRequest())),
                headers={"content-type": BINARY, "authorization": f"Bearer {session}"},
            )
        assert b"grpc-status: 0\r\n" in called.content

    async def test_the_cookie_is_for_this_site_only_and_no_script_reads_it(self, gateway: Gateway) -> None:
        async with gateway.http() as http:
            cookie = (await _log_in(http, token=TOKEN)).headers["set-cookie"].lower()
        assert cookie.startswith("wl_session=")
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert TOKEN not in cookie

    async def test_a_one_time_login_works_once(self, gateway: Gateway) -> None:
        code = gateway.tokens.login(Role.EDITOR)
        async with gateway.http() as http:
            first, second = await asyncio.gather(_log_in(http, login=code), _log_in(http, login=code))
        assert sorted((first.status_code, second.status_code)) == [200, 401]
        refused = first if first.status_code == 401 else second
        assert "used already" in refused.json()["message"]
        assert "set-cookie" not in refused.headers

    async def test_the_viewers_token_gives_the_viewers_role(self, gateway: Gateway) -> None:
        async with gateway.http() as http:
            assert (await _log_in(http, token=VIEWER_TOKEN)).json()["role"] == "viewer"

    async def test_another_tab_asks_with_its_cookie(self, gateway: Gateway) -> None:
        async with gateway.http() as http:
            session = (await _log_in(http, token=TOKEN)).json()["session"]
            told = await http.get("/auth/session", headers={"origin": ORIGIN})
            assert told.json() == {"role": "editor", "session": session}
            assert told.headers.get_list("cross-origin-resource-policy") == ["same-origin"]
            assert (await http.get("/auth/session", headers={"origin": EVIL})).status_code == 403

    @pytest.mark.parametrize(
        "says",
        [
            {"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors", "sec-fetch-dest": "empty"},
            {"sec-fetch-site": "same-origin"},
            # Plain HTTP to another machine, and old browsers.
            {},
        ],
    )
    async def test_a_page_at_the_gateways_own_address_asks_without_an_origin(
        self, gateway: Gateway, says: dict[str, str]
    ) -> None:
        async with gateway.http() as http:
            session = (await _log_in(http, token=TOKEN)).json()["session"]
            assert (await http.get("/auth/session", headers=says)).json()["session"] == session

    @pytest.mark.parametrize(
        "says",
        [
            {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "script"},
            {"sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"},
            {"sec-fetch-site": "same-origin", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "script"},
            {"sec-fetch-site": "same-origin", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"},
            {"sec-fetch-site": "none", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"},
            {"sec-fetch-site": "same-origin, cross-site"},
            {"sec-fetch-site": ""},
            {"host": "rebound.evil.example"},
            {"host": "rebound.evil.example", "sec-fetch-site": "same-origin", "sec-fetch-dest": "empty"},
        ],
    )
    async def test_nobody_else_gets_the_credential_of_a_cookie(self, gateway: Gateway, says: dict[str, str]) -> None:
        async with gateway.http() as http:
            session = (await _log_in(http, token=TOKEN)).json()["session"]
            response = await http.get("/auth/session", headers=says)
        assert response.status_code == 403
        assert session not in response.text

    async def test_logging_out_forgets_the_cookie(self, gateway: Gateway) -> None:
        async with gateway.http() as http:
            await _log_in(http, token=TOKEN)
            await http.delete("/auth/session", headers={"origin": ORIGIN})
            assert (await http.get("/auth/session", headers={"origin": ORIGIN})).status_code == 401

    async def test_a_session_signed_with_another_token_is_refused(self, gateway: Gateway) -> None:
        forged = Tokens(editor_token="guess").session(Role.EDITOR)
        async with gateway.http() as http:
            assert (await _log_in(http, token=forged)).status_code == 401
            assert (await _log_in(http, login=Tokens(editor_token="guess").login(Role.EDITOR))).status_code == 401

    async def test_guessing_is_slowed_for_everyone_who_guesses(self, gateway: Gateway) -> None:
        async with gateway.http() as http:
            codes = [(await _log_in(http, token=f"guess-{number}")).status_code for number in range(12)]
        assert codes == [401] * 10 + [429] * 2

    @pytest.mark.parametrize(
        "body", [b"", b"[]", b"{}", b'{"login": 3}', b'{"login": "a", "token": "b"}', b"\xff", b'{"token"']
    )
    async def test_a_malformed_login_is_refused(self, gateway: Gateway, body: bytes) -> None:
        async with gateway.http(**{"content-type": "application/json"}) as http:
            assert (await http.post("/auth/session", content=body)).status_code == 400

    async def test_a_large_login_is_refused(self, gateway: Gateway) -> None:
        async with gateway.http() as http:
            assert (await _log_in(http, token="x" * 100_000)).status_code == 429

    async def test_a_form_of_another_page_cannot_log_in(self, gateway: Gateway) -> None:
        async with gateway.http() as http:
            body = json.dumps({"token": TOKEN})
            response = await http.post("/auth/session", content=body, headers={"content-type": "text/plain"})
            assert response.status_code == 415
            assert (await http.put("/auth/session")).status_code == 405


class TestWhoMayCall:
    @pytest.mark.parametrize("path", [LIST, "/auth/session", "/media/x/train/1", "/"])
    async def test_a_foreign_host_name_is_refused(self, gateway: Gateway, path: str) -> None:
        async with gateway.http(host="rebound.evil.example", **BEARER) as http:
            response = await http.post(path, content=frame(b""), headers={"content-type": BINARY})
        assert response.status_code == 403
        assert "WL_ALLOWED_HOSTS" in response.json()["message"]

    @pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "[::1]:8080"])
    async def test_our_own_names_are_served(self, gateway: Gateway, host: str) -> None:
        async with gateway.http(host=host, **BEARER) as http:
            assert (await http.get("/nothing/is/here")).status_code == 404

    @pytest.mark.parametrize("path", [LIST, "/auth/session", "/media/x/train/1"])
    @pytest.mark.parametrize("origin", [EVIL, "null", "http://localhost:5174", "http://localhost:5173.evil.example"])
    async def test_a_foreign_page_is_refused(self, gateway: Gateway, path: str, origin: str) -> None:
        async with gateway.http(origin=origin, **BEARER) as http:
            response = await http.post(path, content=frame(b""), headers={"content-type": BINARY})
        assert response.status_code == 403
        assert "access-control-allow-origin" not in response.headers

    async def test_a_page_at_the_gateways_own_address_may_call(self, gateway: Gateway) -> None:
        own = {"origin": "https://localhost:9", "host": "localhost:9"}
        async with gateway.http(**{"content-type": BINARY, **BEARER}) as http:
            for site in ({}, {"sec-fetch-site": "same-origin"}):
                assert (await http.post(LIST, content=frame(b""), headers=own | site)).status_code == 200
            other_scheme = own | {"origin": "http://localhost:9", "sec-fetch-site": "cross-site"}
            assert (await http.post(LIST, content=frame(b""), headers=other_scheme)).status_code == 403
            other_port = own | {"origin": "https://localhost:99"}
            assert (await http.post(LIST, content=frame(b""), headers=other_port)).status_code == 403

    async def test_with_every_host_name_allowed_no_address_is_taken_for_our_own(
        self, nats_url: str, tmp_path: Path
    ) -> None:
        rebound = {"origin": "http://rebound.evil.example", "host": "rebound.evil.example", "content-type": BINARY}
        async with running_gateway(nats_url, tmp_path, allowed_hosts="*") as gateway, gateway.http(**rebound) as http:
            assert (await http.post(LIST, content=frame(b""))).status_code == 403

    async def test_a_preflight_of_our_page_is_answered(self, gateway: Gateway) -> None:
        ask = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,x-grpc-web"}
        async with gateway.http(origin=ORIGIN, **ask) as http:
            response = await http.request("OPTIONS", LIST)
        assert response.status_code == 204
        assert response.headers["access-control-allow-origin"] == ORIGIN
        assert response.headers["access-control-allow-credentials"] == "true"
        assert response.headers["access-control-max-age"] == "7200"
        allowed = {name.strip() for name in response.headers["access-control-allow-headers"].split(",")}
        assert {"authorization", "content-type", "grpc-timeout", "x-grpc-web", "x-user-agent"} <= allowed
        assert response.headers.get_list("vary") == ["origin"]

    async def test_a_preflight_of_a_foreign_page_is_refused(self, gateway: Gateway) -> None:
        async with gateway.http(origin=EVIL, **{"access-control-request-method": "POST"}) as http:
            response = await http.request("OPTIONS", LIST)
        assert response.status_code == 403
        assert not any(name.startswith("access-control") for name in response.headers)

    async def test_our_page_may_read_a_reply_and_its_status(self, gateway: Gateway) -> None:
        async with gateway.http(origin=ORIGIN, **BEARER) as http:
            response = await http.post(LIST, content=frame(b""), headers={"content-type": BINARY})
        assert response.headers["access-control-allow-origin"] == ORIGIN
        assert {"grpc-status", "x-version"} <= set(response.headers["access-control-expose-headers"].split(", "))
        assert response.headers["x-request-id"]

    async def test_every_answer_forbids_to_guess_types_and_to_frame(self, gateway: Gateway) -> None:
        async with gateway.http() as http:
            for path in ("/nothing", "/auth/session", "/media/x/train/1", LIST):
                response = await http.get(path)
                assert response.headers["x-content-type-options"] == "nosniff", path
                assert "default-src 'none'" in response.headers["content-security-policy"], path
                assert "server" not in response.headers, path


class TestImages:
    async def test_an_image_is_asked_for_by_its_names(
        self, gateway: Gateway, ledger: LedgerPeer, trainer: TrainerPeer
    ) -> None:
        path = f"/media/{trainer.experiment}/tr%2Fain/a%2Fb%20%E6%97%A5?layer=gt&w=128&z=3"
        async with gateway.http(**BEARER) as http:
            response = await http.get(path)
        assert response.status_code == 200
        assert response.headers["content-type"] == "image/png"
        assert response.text == "tr/ain|a/b 日|gt|128|3"

    async def test_the_cookie_opens_images(self, gateway: Gateway, ledger: LedgerPeer, trainer: TrainerPeer) -> None:
        path = f"/media/{trainer.experiment}/train/1"
        async with gateway.http() as http:
            assert (await http.get(path)).status_code == 401
            await _log_in(http, token=VIEWER_TOKEN)
            assert (await http.get(path)).status_code == 200

    async def test_an_image_that_is_known_is_not_sent_again(
        self, gateway: Gateway, ledger: LedgerPeer, trainer: TrainerPeer
    ) -> None:
        path = f"/media/{trainer.experiment}/train/1"
        async with gateway.http(**BEARER) as http:
            first = await http.get(path)
            again = await http.get(path, headers={"if-none-match": first.headers["etag"]})
            assert (again.status_code, again.content) == (304, b"")
            assert again.headers["etag"] == first.headers["etag"]
            other = await http.get(path, headers={"if-none-match": '"something-else"'})
            assert other.status_code == 200

    async def test_naming_the_version_makes_an_image_immutable(
        self, gateway: Gateway, ledger: LedgerPeer, trainer: TrainerPeer
    ) -> None:
        path = f"/media/{trainer.experiment}/train/1"
        async with gateway.http(**BEARER) as http:
            assert (await http.get(path)).headers["cache-control"] == "private, no-cache"
            assert "immutable" in (await http.get(path + "?v=1")).headers["cache-control"]
            assert "immutable" not in (await http.get(path + "?v=2")).headers["cache-control"]

    async def test_many_who_ask_for_one_image_cost_one_request(
        self, gateway: Gateway, ledger: LedgerPeer, trainer: TrainerPeer
    ) -> None:
        path = f"/media/{trainer.experiment}/train/1"
        async with gateway.http(**BEARER) as http:
            answers = await asyncio.gather(*(http.get(path) for _ in range(20)))
        assert {answer.status_code for answer in answers} == {200}
        assert len(trainer.media_requests) == 1

    async def test_the_boxes_of_an_image_are_told_as_json(
        self, gateway: Gateway, ledger: LedgerPeer, trainer: TrainerPeer
    ) -> None:
        trainer.media_boxes = MediaBoxes(
            corners=pack([1, 2, 3, 4, 5, 6, 7, np.inf], F32), labels=pack([0, 3], U32), scores=pack([0.5, np.nan], F32)
        )
        path = f"/media/{trainer.experiment}/train/1?layer=pred"
        async with gateway.http(**BEARER) as http:
            image = await http.get(path)
            boxes = await http.get(path + "&as=boxes")
            without = await http.get(path + "&as=boxes", headers={"if-none-match": image.headers["etag"]})
        assert (image.headers["content-type"], image.headers["x-boxes"]) == ("image/png", "1")
        assert boxes.json() == {
            "width": 40,
            "height": 20,
            "corners": [1, 2, 3, 4, 5, 6, 7, 0],
            "labels": [0, 3],
            "scores": [0.5, None],
        }
        assert without.status_code == 200, "the boxes are not the image"

    async def test_an_image_without_boxes_says_so(
        self, gateway: Gateway, ledger: LedgerPeer, trainer: TrainerPeer
    ) -> None:
        path = f"/media/{trainer.experiment}/train/1"
        async with gateway.http(**BEARER) as http:
            assert "x-boxes" not in (await http.get(path)).headers
            response = await http.get(path + "?as=boxes")
        assert response.status_code == 404
        assert "no boxes" in response.json()["message"]

    async def test_without_a_trainer_the_answer_says_so(self, gateway: Gateway, ledger: LedgerPeer) -> None:
        async with gateway.http(**BEARER) as http:
            response = await http.get(f"/media/{ledger.experiment}/train/1")
        assert response.status_code == 503
        assert response.json()["error"] == "unavailable"
        assert "trainer" in response.json()["message"]

    async def test_without_a_trainer_who_asks_for_it_gets_a_picture_that_says_so(
        self, gateway: Gateway, ledger: LedgerPeer
    ) -> None:
        async with gateway.http(**BEARER) as http:
            path = f"/media/{ledger.experiment}/train/1?w=200&placeholder=1"
            response = await http.get(path)
            assert (await http.get("/media/nowhere/train/1?placeholder=1")).status_code == 404
        assert (response.status_code, response.headers["cache-control"]) == (503, "no-store")
        assert response.headers["content-type"] == "image/png"
        with Image.open(io.BytesIO(response.content)) as picture:
            assert picture.size == (200, 200)
            shades = set(picture.convert("L").tobytes())
        assert len(shades) > 3, "or it is empty"

    async def test_when_the_trainer_has_gone_what_is_in_memory_is_still_shown(
        self, gateway: Gateway, ledger: LedgerPeer, bus: Bus, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trainer = TrainerPeer(bus, ledger.experiment)
        monkeypatch.setattr("weightslab_gateway.media_http.CACHE_SECS", 0.0)
        async with running_gateway(gateway.settings.nats_url, gateway.settings.data_dir) as other:
            subscription = await bus.serve(
                subjects.media(ledger.experiment), GetMediaPageRequest, trainer.media_page, queue="media"
            )
            await settle(bus)
            async with other.http(**BEARER) as http:
                path = f"/media/{ledger.experiment}/train/1"
                shown = await http.get(path)
                assert (shown.status_code, "x-stale" in shown.headers) == (200, False)
                await subscription.unsubscribe()
                await settle(bus)
                kept = await http.get(path)
                assert (kept.status_code, kept.headers["x-stale"]) == (200, "1")
                assert kept.content == shown.content
                assert (await http.get(f"/media/{ledger.experiment}/train/2")).status_code == 503

    async def test_an_unknown_experiment_is_not_found(self, gateway: Gateway) -> None:
        async with gateway.http(**BEARER) as http:
            response = await http.get("/media/nowhere/train/1")
        assert response.status_code == 404
        assert "nowhere" in response.json()["message"]

    @pytest.mark.parametrize(
        "path",
        ["/media/x", "/media/x/y", "/media/x//1", "/media/x/y/z/1", "/media/X/y/1", "/media/x/y/%ff"]
        + [f"/media/x/y/1?{query}" for query in ("w=-1", "w=9999999", "w=1e3", "z=x", "layer=../etc", "w=٣")],
    )
    async def test_a_malformed_address_is_refused(self, gateway: Gateway, path: str) -> None:
        async with gateway.http(**BEARER) as http:
            assert (await http.get(path)).status_code == 400

    async def test_images_cannot_be_written(self, gateway: Gateway) -> None:
        async with gateway.http(**BEARER) as http:
            assert (await http.post("/media/x/train/1")).status_code == 405


async def test_a_text_body_of_a_foreign_simple_request_is_not_read(gateway: Gateway) -> None:
    """What a page can send without a preflight has one of three content types: none of them is ours."""
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        async with gateway.http(**{"content-type": content_type, **BEARER}) as http:
            response = await http.post(LIST, content=base64.b64encode(frame(b"")))
        assert response.status_code == 415
