"""An OTLP/HTTP collector on loopback that keeps what it is sent."""

from __future__ import annotations

import contextlib
import gzip
import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True, slots=True)
class Span:
    """One span; `id` and `parent` are hexadecimal."""

    service: str
    name: str
    id: str
    parent: str


class Collector:
    """What was received at `url`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.received: list[ExportTraceServiceRequest] = []

    def spans(self, trace_id: str) -> list[Span]:
        """The spans of a trace (hexadecimal)."""
        return [
            Span(
                next(one.value.string_value for one in resource.resource.attributes if one.key == "service.name"),
                span.name,
                span.span_id.hex(),
                span.parent_span_id.hex(),
            )
            for request in list(self.received)
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
            if span.trace_id.hex() == trace_id
        ]


@contextlib.contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on a free port, for as long as the context lasts."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            collector.received.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector = Collector(f"http://127.0.0.1:{server.server_address[1]}/v1/traces")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()
