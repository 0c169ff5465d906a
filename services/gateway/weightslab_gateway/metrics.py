"""What the gateway counts, for Prometheus."""

from __future__ import annotations

import asyncio

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


def _task_count() -> int:
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:
        return 0


class Metrics:
    """One registry per gateway, so that several can live in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.calls = Counter(
            "wl_gateway_calls",
            "Calls that have ended.",
            ["method", "transport", "status"],
            registry=self.registry,
        )
        self.call_seconds = Histogram(
            "wl_gateway_call_seconds",
            "Time that unary calls took.",
            ["method", "transport"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.calls_running = Gauge("wl_gateway_calls_running", "Calls that run now.", registry=self.registry)
        self.tasks = Gauge("wl_gateway_tasks", "Tasks of the event loop.", registry=self.registry)
        # Read where the loop runs: the metrics are asked for over HTTP.
        self.tasks.set_function(_task_count)
        self.connections = Gauge("wl_gateway_connections", "Connections at the public ports.", registry=self.registry)
        self.connections_refused = Counter(
            "wl_gateway_connections_refused",
            "Connections cut off because WL_MAX_CONNECTIONS were open.",
            registry=self.registry,
        )
        self.viewers = Gauge("wl_gateway_viewers", "Watch streams that are open.", registry=self.registry)
        self.viewers_dropped = Counter(
            "wl_gateway_viewers_dropped", "Viewers dropped because they did not keep up.", registry=self.registry
        )
        self.live_dropped = Counter(
            "wl_gateway_live_dropped",
            "Messages of the bus dropped because a hub was busy; what they held is fetched.",
            registry=self.registry,
        )
        self.gaps_repaired = Counter(
            "wl_gateway_gaps_repaired", "Lost curve points and edits that were fetched.", registry=self.registry
        )
        self.logins = Counter("wl_gateway_logins", "Attempts to log in.", ["outcome"], registry=self.registry)
        self.media = Counter("wl_gateway_media", "Requests for images.", ["outcome"], registry=self.registry)
        self.media_cache_bytes = Gauge(
            "wl_gateway_media_cache_bytes", "Bytes of images kept in memory.", registry=self.registry
        )
        self.bus_connected = Gauge("wl_gateway_bus_connected", "1 while the bus is connected.", registry=self.registry)
