"""Traces with OpenTelemetry, over HTTP and the bus. Off unless a collector is named; then every span goes there.

The provider is our own and not the global one: a training script may have traces of its own.
Needs the extra `weightslab[telemetry]`; without it, and while it is off, nothing is imported and nothing is measured.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from weightslab_common import __version__
from weightslab_common.errors import FailedPrecondition

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

# https://www.w3.org/TR/trace-context/
TRACE_FIELDS = ("traceparent", "tracestate")


class _Traces:
    """What `configure` has set up in this process."""

    provider: TracerProvider | None = None
    tracer: Tracer | None = None


def configure(service: str, *, url: str | None) -> None:
    """Send the spans of this process, as those of `service`, to the OTLP/HTTP collector at `url`; None sends none.

    Raises FailedPrecondition when OpenTelemetry is not installed.
    """
    if url is None or _Traces.provider is not None:
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as error:
        raise FailedPrecondition(
            "WL_TRACES_URL is set and OpenTelemetry is missing: `pip install 'weightslab[telemetry]'`, or unset it"
        ) from error
    resource = Resource.create({"service.name": f"weightslab-{service}", "service.version": __version__})
    _Traces.provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    # Its queue is bounded and its thread sends: nothing here waits for the collector.
    _Traces.provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=url, timeout=5)))
    _Traces.tracer = _Traces.provider.get_tracer("weightslab", __version__)


def stop() -> None:
    """Send what is left, within seconds, and end."""
    if _Traces.provider is not None:
        _Traces.provider.shutdown()
    _Traces.provider = _Traces.tracer = None


@contextlib.contextmanager
def span(
    name: str, *, kind: str, parent: Mapping[str, str] | None = None, **attributes: str | int | float
) -> Iterator[None]:
    """Measure what is done in this context, while traces are on.

    `kind` is `server`, `client` or `internal`; `parent` the headers of the message that asks for it, else the span
    continues the one that this task is in. An exception marks the span as failed and goes on.
    """
    if _Traces.tracer is None:
        yield
        return
    from opentelemetry.trace import SpanKind
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    context: Any = None
    if parent is not None:
        carrier = {field: parent[field] for field in TRACE_FIELDS if field in parent}
        context = TraceContextTextMapPropagator().extract(carrier)
    with _Traces.tracer.start_as_current_span(
        name, context=context, kind=SpanKind[kind.upper()], attributes=attributes
    ):
        yield


def headers() -> dict[str, str]:
    """The headers by which a message continues the span that this task is in; empty while traces are off."""
    if _Traces.tracer is None:
        return {}
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier
