"""What an operator can see of a request: the same id in the logs of both sides, and one trace over the bus."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from grpclib.client import Channel
from weightslab_common.embedded import free_ports
from weightslab_common.tokens import Role, Tokens
from weightslab_proto.weightslab.v1 import QuerySamplesRequest, QuerySamplesResponse

from tests.support.collector import Collector, collecting
from tests.support.grpcweb import BINARY, GrpcWebClient, frame
from tests.support.processes import Process, accepts, wait_until
from tests.support.studio import TOKEN, VIEWER_TOKEN, Api
from tests.unit.gateway.peers import LedgerPeer

ROOT = Path(__file__).resolve().parents[3]
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
QUERY = "/weightslab.v1.SampleService/QuerySamples"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


class Started:
    """A gateway as the process that operators run, with everything written to its log."""

    def __init__(self, nats_url: str, folder: Path, **environment: str) -> None:
        names = ("GRPC_BACKEND_PORT", "ENVOY_PORT", "ENVOY_ADMIN_PORT")
        self.grpc_port, self.web_port, self.admin_port = ports = free_ports(3)
        told = dict(zip(names, map(str, ports), strict=True)) | {
            "WL_NATS_URL": nats_url,
            "WL_DATA_DIR": str(folder),
            "WL_TOKEN": TOKEN,
            "WL_VIEWER_TOKEN": VIEWER_TOKEN,
            "WL_LOG_LEVEL": "DEBUG",
            "WL_LOG_FORMAT": "json",
        }
        command = [sys.executable, "-m", "weightslab_gateway"]
        self.process = Process(command, log=folder / "gateway.log", environment=told | environment)
        self.process.start()
        ready = f"http://127.0.0.1:{self.admin_port}/metrics"
        wait_until(lambda: accepts(self.web_port), what="the gateway listens", timeout_secs=60)
        wait_until(
            lambda: "wl_gateway_bus_connected 1.0" in httpx.get(ready, timeout=20).text,
            what="the bus is connected",
            timeout_secs=60,
        )

    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.process.output().splitlines()]


async def test_a_request_is_followed_from_the_caller_over_the_bus(
    nats_url: str, tmp_path: Path, ledger: LedgerPeer, collector: Collector
) -> None:
    started = Started(nats_url, tmp_path, WL_TRACES_URL=collector.url)
    metadata = {"x-request-id": "of-the-caller", "traceparent": f"00-{TRACE_ID}-b7ad6b7169203331-01"}
    try:
        async with Channel("127.0.0.1", started.grpc_port) as channel:
            request = QuerySamplesRequest(experiment=ledger.experiment, filter="x")
            await Api(channel, TOKEN).samples.query_samples(
                request, metadata=metadata | {"authorization": f"Bearer {TOKEN}"}
            )
        assert [header["Wl-Request-Id"] for header in ledger.query_headers] == ["of-the-caller"]
    finally:
        # Its end sends what was not sent yet.
        assert started.process.stop(timeout_secs=60) == 0
    assert any(line.get("request_id") == "of-the-caller" and QUERY in str(line["message"]) for line in started.lines())
    spans = {span.name: span for span in collector.spans(TRACE_ID)}
    call, asked = spans[QUERY[1:]], spans["ask ledger.query_samples"]
    assert (call.service, call.parent) == ("weightslab-gateway", "b7ad6b7169203331")
    assert asked.parent == call.id
    # What the ledger got continues there.
    assert ledger.query_headers[0]["traceparent"] == f"00-{TRACE_ID}-{asked.id}-01"


async def test_no_secret_is_written_to_the_log(nats_url: str, tmp_path: Path, ledger: LedgerPeer) -> None:
    tokens = Tokens(editor_token=TOKEN, viewer_token=VIEWER_TOKEN)
    code, session = tokens.login(Role.EDITOR), tokens.session(Role.VIEWER)
    with_password = nats_url.replace("nats://", "nats://somebody:password-of-the-bus@")
    guesses = ("guess-by-a-call", "guess-at-the-login")
    started = Started(with_password, tmp_path, WL_NATS_TOKEN="token-of-the-bus")
    url = f"http://127.0.0.1:{started.web_port}"
    try:
        for token in (TOKEN, VIEWER_TOKEN, session, guesses[0]):
            client = GrpcWebClient(url, token=token)
            try:
                await client.unary(QUERY, QuerySamplesRequest(experiment=ledger.experiment), QuerySamplesResponse)
            except Exception as error:
                assert token == guesses[0], error
            await client.close()
        async with httpx.AsyncClient(base_url=url, timeout=20) as http:
            own = {"origin": "http://localhost:5173"}
            told = await http.post("/auth/session", json={"login": code}, headers=own)
            sessions = {session, told.json()["session"]}
            assert (await http.post("/auth/session", json={"token": guesses[1]}, headers=own)).status_code == 401
            assert (await http.post("/auth/session", json={"token": [TOKEN]}, headers=own)).status_code == 400
            assert (await http.get("/auth/session", headers=own)).status_code == 200
            await http.get(f"/media/{ledger.experiment}/train/1")
            malformed = frame(b"\xff" * 40)
            headers = {"content-type": BINARY, "authorization": f"Bearer {TOKEN}"}
            assert b"grpc-status: 3" in (await http.post(QUERY, content=malformed, headers=headers)).content
    finally:
        assert started.process.stop(timeout_secs=60) == 0
    log = started.process.output()
    assert QUERY in log, "or nothing was written at all"
    secrets = {TOKEN, VIEWER_TOKEN, code, *sessions, *guesses, "password-of-the-bus", "token-of-the-bus"}
    assert {secret for secret in secrets if secret in log} == set()
