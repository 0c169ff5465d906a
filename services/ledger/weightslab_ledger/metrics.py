"""What a ledger counts, and how Prometheus reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


@dataclass(slots=True)
class Counts:
    """Counters since the experiment was taken over."""

    messages: int = 0
    # Messages that had been taken in before.
    duplicates: int = 0
    # Messages that made no sense and were left out.
    refused: int = 0
    # Messages left out because what they need did not come in time.
    dropped: int = 0
    points: int = 0
    values: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """One experiment as it is now. `loaded`: whether it is in memory, without which there are no counts."""

    experiment: str
    revision: int
    samples: int
    counts: Counts | None


@dataclass(frozen=True, slots=True)
class Connections:
    """Which of its two servers the ledger reaches."""

    bus: bool
    store: bool


class LedgerCollector(Collector):
    """Reads the ledger when it is asked; nothing is counted twice."""

    def __init__(self, *, connections: Callable[[], Connections], readings: Callable[[], Iterable[Reading]]) -> None:
        self._connections = connections
        self._readings = readings

    def collect(self) -> Iterator[Metric]:
        reached = self._connections()
        yield GaugeMetricFamily("wl_ledger_bus_connected", "1 while the bus is connected.", value=reached.bus)
        yield GaugeMetricFamily("wl_ledger_store_connected", "1 while the store answers.", value=reached.store)
        readings = list(self._readings())
        owned = GaugeMetricFamily("wl_ledger_experiments", "Experiments that are owned.", labels=["loaded"])
        for loaded in (True, False):
            owned.add_metric([str(loaded).lower()], sum((reading.counts is not None) is loaded for reading in readings))
        yield owned
        revision = GaugeMetricFamily("wl_ledger_revision", "Edits so far.", labels=["experiment"])
        samples = GaugeMetricFamily("wl_ledger_samples", "Registered samples.", labels=["experiment"])
        for reading in readings:
            revision.add_metric([reading.experiment], reading.revision)
            samples.add_metric([reading.experiment], reading.samples)
        yield from (revision, samples)
        for counter in fields(Counts):
            family = CounterMetricFamily(
                f"wl_ledger_{counter.name}",
                f"What the ledger took in since it took the experiment over: {counter.name}.",
                labels=["experiment"],
            )
            for reading in readings:
                if reading.counts is not None:
                    family.add_metric([reading.experiment], getattr(reading.counts, counter.name))
            yield family


def registry_of(collector: Collector) -> CollectorRegistry:
    """A registry of one ledger, so that several can live in one process."""
    registry = CollectorRegistry()
    registry.register(collector)
    return registry
